import { Api } from "./api.js";
import { Stream } from "./stream.js";

/**
 * One key's way to the gateway: REST, the stream, and who the gateway says we are. A browser is not told
 * why a WebSocket was refused, so the key is checked by a request first, and again when a stream fails.
 */
export async function connect(key) {
  if (!/^[\x21-\x7e]+$/.test(key)) throw new Error("That is not an API key.");
  const api = new Api(key);
  const identity = await api.get("/v1/me").catch((error) => {
    if (error.status !== 401) throw error;
    throw new Error("The gateway does not take this key. It may be mistyped, revoked or expired.");
  });
  const isRefused = () =>
    api.get("/v1/me").then(
      () => false,
      (error) => error.status === 401,
    );
  const stream = new Stream(key, isRefused);
  return { api, stream, identity, close: () => stream.close() };
}
