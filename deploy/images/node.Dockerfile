# A node, the orchestrator: actors, and the workers that it starts in an engine. Builds with and without BuildKit;
# docs/docker.md tells how to use it.

# Debian or a relative, with Node 20.19 or newer.
ARG BASE_IMAGE=node:24-slim
# An image that brings ready what the stage of this name makes; offline.mjs has one.
ARG BUILD_IMAGE=build

FROM ${BASE_IMAGE} AS build
# Not empty: BUILD_IMAGE brings the build, and nothing is made here.
ARG PREBUILT=
WORKDIR /berth
COPY package.json package-lock.json .npmrc ./
RUN test -n "$PREBUILT" || npm ci --ignore-scripts
COPY . .
RUN test -n "$PREBUILT" || npm run build
# As it lies in the images, of one time, so that the same sources make the same layers; packages apart, for they change less.
RUN mkdir -p /executor /modules /server && { test -n "$PREBUILT" || { npm prune --omit=dev --ignore-scripts \
    && rm node_modules/.package-lock.json \
    && install -D -m 0644 dist/executor.mjs /executor/opt/berth/executor.mjs \
    && mkdir -p /modules/berth /server/berth/deploy /server/berth/gateway && mv node_modules /modules/berth/ \
    && mv package.json dist /server/berth/ && mv deploy/bin /server/berth/deploy/ && mv gateway/dashboard /server/berth/gateway/ \
    && find /executor /modules /server -exec touch --no-dereference --date=@315532800 {} +; }; }

FROM ${BUILD_IMAGE} AS built

# Up to ENV as the image of the other role, so that they share all layers.
FROM ${BASE_IMAGE}
# For a node that hosts workers, on the host's network. A base that has it needs no network here.
RUN command -v iptables > /dev/null \
    || { apt-get update \
      && apt-get install --yes --no-install-recommends iptables \
      && rm -rf /var/lib/apt/lists/*; }
RUN { ! taken=$(getent passwd 1000) || userdel --remove "${taken%%:*}"; } \
    && useradd --uid 1000 --user-group --no-log-init --create-home --skel /nonexistent --shell /bin/sh berth \
    && install -d -o 1000 -g 1000 -m 0700 /data \
    && install -d /berth && ln -s /data /berth/.berth && ln -s /berth/deploy/bin/berth.mjs /usr/local/bin/berth
COPY --from=built /modules /
COPY --from=built /server /
ENV NODE_ENV=production \
    BERTH_DATA=/data \
    BERTH_HOST=0.0.0.0 \
    BERTH_NODE_PORT=3000
USER 1000:1000
WORKDIR /berth
# The node's name, so that it finds its workers again.
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.BERTH_NODE_PORT}/readyz`).then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
CMD ["berth", "node"]
ARG VERSION=
ARG BUILD=
LABEL org.opencontainers.image.title="Berth node" \
      org.opencontainers.image.description="A node of Berth: hosts actors and starts workers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      berth.build="$BUILD"
