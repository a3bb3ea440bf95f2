# quench with all that it needs; work in a folder that is mounted:
#   docker run --rm -v "$PWD:/work" -v quench-cache:/cache quench train model-f16.gguf --type Q4_0 -o model-q4_0.gguf
FROM node:22-slim AS build
ENV ONNXRUNTIME_NODE_INSTALL=skip
WORKDIR /quench
COPY . .
# onnxruntime-node comes with the libraries of all systems.
RUN npm ci --no-audit --no-fund \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/onnxruntime-node/bin/napi-v6/darwin node_modules/onnxruntime-node/bin/napi-v6/win32

FROM node:22-slim
WORKDIR /quench
COPY --from=build /quench/package.json /quench/LICENSE ./
COPY --from=build /quench/node_modules node_modules
COPY --from=build /quench/dist dist
COPY --from=build /quench/models models
COPY --from=build /quench/texts texts
RUN mkdir /cache /work && chown node:node /cache /work
ENV QUENCH_CACHE=/cache
VOLUME /cache
USER node
WORKDIR /work
ENTRYPOINT ["node", "/quench/dist/cli/main.js"]
CMD ["--help"]
