#!/usr/bin/env bash
# Installs libfaketime from the distribution's own packages: `npm run chaos` needs it to make the clocks of single nodes
# jump. Without it that fault is left out, and the report says so.
#
# Exit code 0: it is there. 1: it is missing and could not be installed; the message says what to do.
set -euo pipefail

if compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || compgen -G '/usr/lib/faketime/libfaketime.so.1' >/dev/null; then
  echo "faketime: libfaketime is installed"
  exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
  echo "faketime: this script knows only apt-get; install libfaketime with your package manager" >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "faketime: run: sudo apt-get install -y --no-install-recommends libfaketime" >&2
  exit 1
fi

export DEBIAN_FRONTEND=noninteractive
install() {
  apt-get install -y -qq --no-install-recommends libfaketime >/dev/null
}
# The package lists may be absent or out of date: fetch them only when the first try fails.
install 2>/dev/null || { apt-get update -qq >/dev/null && install; } || {
  echo "faketime: apt-get could not install it; run 'apt-get install libfaketime' to see why" >&2
  exit 1
}
echo "faketime: installed libfaketime"
