import { Api } from "./api.js";
import { Stream } from "./stream.js";

const SIGN_IN_MS = 8_000;

/** One key's way to the gateway: REST, the stream, and who the gateway says we are. */
export async function connect(key) {
  if (!/^[\x21-\x7e]+$/.test(key)) throw new Error("That is not an API key.");
  const stream = new Stream(key);
  try {
    const identity = await welcomed(stream);
    return { api: new Api(key), stream, identity, close: () => stream.close() };
  } catch (error) {
    stream.close();
    throw error;
  }
}

function welcomed(stream) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error("The gateway does not answer. Is it running?")),
      SIGN_IN_MS,
    );
    stream.addEventListener("welcome", ({ detail }) => {
      clearTimeout(timer);
      resolve(detail);
    });
    stream.addEventListener("problem", ({ detail }) => {
      clearTimeout(timer);
      reject(new Error(`${detail.message} (${detail.code})`));
    });
    stream.addEventListener("status", ({ detail }) => {
      if (detail !== "refused") return;
      clearTimeout(timer);
      reject(
        new Error("The gateway does not take this key. It may be mistyped, revoked or expired."),
      );
    });
  });
}
