# One node of a ringcache cluster. compose.yaml runs three.
#
#   docker build -t ringcache .
#   docker run -v ./cluster.yaml:/etc/ringcache/cluster.yaml ringcache start -c /etc/ringcache/cluster.yaml -n node1

FROM node:20-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npx tsc -p tsconfig.build.json
RUN npm prune --omit=dev --no-audit --no-fund

FROM node:20-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json LICENSE ./
COPY proto ./proto
COPY scripts/healthcheck.mjs ./scripts/healthcheck.mjs
# Whoever the container runs as can write here, and nobody removes what belongs to others.
RUN mkdir data && chmod 1777 data
USER node
EXPOSE 7401
VOLUME /app/data
# A node listens at its own name; set RINGCACHE_ADDRESS where that is not the name of the container.
HEALTHCHECK --interval=5s --timeout=4s --start-period=20s --retries=3 \
  CMD node scripts/healthcheck.mjs "${RINGCACHE_ADDRESS:-$(hostname):7401}"
# SIGTERM stops the node in order; give it more time than it takes itself (5 s).
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "--enable-source-maps", "dist/cli/main.js"]
CMD ["start", "--config", "/etc/ringcache/cluster.yaml", "--node", "node1"]
