#!/usr/bin/env bash
# Installs the servers that `npm run test:services` and `npm run bench -- peers` run ringcache with or beside: redis-server and
# memcached, from the distribution's own packages, and versitygw, a server of the S3 protocol, built with Go into .ringcache/services.
# Installs only what is missing, so it can be run again at any time. ringcache itself needs none of them.
#
# Exit code 0: all are there. 1: something is missing and could not be installed; the message says what to do.
set -euo pipefail

missing=

services="$(cd "$(dirname "$0")/.." && pwd)/.ringcache/services"
s3_server=github.com/versity/versitygw/cmd/versitygw@v1.8.0
if [ ! -x "$services/bin/versitygw" ]; then
  if ! command -v go >/dev/null 2>&1; then
    echo "services: missing versitygw; it is built with Go, which is not installed" >&2
    missing=1
  elif GOBIN="$services/bin" GOFLAGS=-trimpath timeout 900 go install "$s3_server" 2>/dev/null; then
    echo "services: built $s3_server"
  else
    echo "services: Go could not build $s3_server; run 'GOBIN=$services/bin go install $s3_server' to see why" >&2
    missing=1
  fi
fi

packages=()
command -v redis-server >/dev/null 2>&1 && command -v redis-cli >/dev/null 2>&1 || packages+=(redis-server)
command -v memcached >/dev/null 2>&1 || packages+=(memcached)

if [ ${#packages[@]} -eq 0 ]; then
  [ -n "$missing" ] || echo "services: all are installed"
  exit "${missing:-0}"
fi

if ! command -v apt-get >/dev/null 2>&1; then
  echo "services: missing ${packages[*]}; this script knows only apt-get, install them with your package manager" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "services: missing ${packages[*]}; run: sudo apt-get install -y --no-install-recommends ${packages[*]}" >&2
  exit 1
fi

# The packages start a daemon on the default port; a policy that forbids it leaves the machine as it was. One that is
# already there (container images often have it) is kept.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi

export DEBIAN_FRONTEND=noninteractive
install() {
  apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}
# The package lists may be absent or out of date: fetch them only when the first try fails.
install 2>/dev/null || { apt-get update -qq >/dev/null && install; } || {
  echo "services: apt-get could not install ${packages[*]}; run 'apt-get install ${packages[*]}' to see why" >&2
  exit 1
}
echo "services: installed ${packages[*]}"
exit "${missing:-0}"
