# A worker: the executor as one file, and what agents reach for. It holds no settings and no secrets: who it is comes on its
# standard input. Builds with and without BuildKit; docs/docker.md tells how to use it.

# Debian or a relative, with Node 20.19 or newer.
ARG BASE_IMAGE=node:24-slim
# Images that bring ready what the stages of these names make; offline.mjs has some.
ARG BUILD_IMAGE=build
ARG AGENTS_IMAGE=agents

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

FROM ${BASE_IMAGE} AS agents
ARG PREBUILT=
# Agents' command line tools as npm names them; empty for none.
ARG AGENTS="@anthropic-ai/claude-code@2.1.330 @openai/codex@0.169.0"
WORKDIR /image/opt/agents
RUN test -n "$PREBUILT" || test -z "$AGENTS" || { npm install --no-audit --no-fund --prefix . $AGENTS \
    && rm -rf package.json package-lock.json node_modules/.package-lock.json \
    && find /image -exec touch --no-dereference --date=@315532800 {} +; }

FROM ${BUILD_IMAGE} AS built
FROM ${AGENTS_IMAGE} AS chosen-agents

# From what changes least to what changes most: a change of the sources makes the last layer alone anew.
FROM ${BASE_IMAGE}
# A base that has it all needs no network here. The executor itself calls ipcrm.
RUN { command -v git && command -v curl && command -v python3 && command -v update-ca-certificates && command -v ipcrm; } > /dev/null \
    || { apt-get update \
      && apt-get install --yes --no-install-recommends git curl python3 ca-certificates util-linux \
      && rm -rf /var/lib/apt/lists/*; }
# Node's own images have a user of this number, by another name. The folders are where a workspace is mounted. No program
# runs as anybody but its caller.
RUN { ! taken=$(getent passwd 1000) || userdel --remove "${taken%%:*}"; } \
    && useradd --uid 1000 --user-group --no-log-init --create-home --skel /nonexistent --shell /bin/sh berth-agent \
    && install -d -o 1000 -g 1000 /berth /berth/workspace \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
# Jobs run as the same user as the executor, and could read its credential in its memory, or change it for the next job's
# sake. A process whose program may be run but not read is closed to them; here that is the loader which runs node.
RUN install -d /opt/berth \
    && install -m 0111 "$(ldd "$(command -v node)" | sed -n 's/^[[:space:]]*\(\/[^ ]*\/ld-[^ ]*\) .*/\1/p')" /opt/berth/closed \
    && ln -s "$(command -v node)" /opt/berth/node
COPY --from=chosen-agents /image /
ENV NODE_ENV=production \
    PATH=/opt/agents/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    BERTH_AGENT_PATH=/opt/agents/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    BERTH_ISOLATED=1 \
    BERTH_IDENTITY=stdin \
    BERTH_HEALTH_PORT=8080
USER 1000:1000
WORKDIR /
EXPOSE 8080
# Rarely: each is a process in a container of which there may be hundreds.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
  CMD ["curl", "--fail", "--silent", "--show-error", "--max-time", "4", "http://127.0.0.1:8080/livez"]
ENTRYPOINT ["/opt/berth/closed", "/opt/berth/node", "/opt/berth/executor.mjs"]
COPY --from=built /executor /
ARG VERSION=
ARG BUILD=
ARG RECIPE=
LABEL org.opencontainers.image.title="Berth executor" \
      org.opencontainers.image.description="A worker of Berth: runs AI agents, one job after another" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      berth.build="$BUILD" \
      berth.recipe="$RECIPE"
