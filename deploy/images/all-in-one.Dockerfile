# Berth with everything in one container: for a look, or for one team's machine. Workers are processes inside it.
ARG BASE_IMAGE=node:24-slim
FROM ${BASE_IMAGE} AS build
WORKDIR /berth
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
RUN npm run build && npm prune --omit=dev

FROM ${BASE_IMAGE}
ENV NODE_ENV=production \
    BERTH_DATA=/data \
    BERTH_HOST=0.0.0.0 \
    BERTH_PORT=8000
RUN mkdir /data && chown 1000:1000 /data
COPY --from=build --chown=0:0 /berth/package.json /berth/package.json
COPY --from=build --chown=0:0 /berth/node_modules /berth/node_modules
COPY --from=build --chown=0:0 /berth/dist /berth/dist
USER 1000:1000
WORKDIR /berth
VOLUME /data
EXPOSE 8000 9464
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8000/readyz').then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
CMD ["node", "dist/deploy/main.js", "up", "--no-demo"]
