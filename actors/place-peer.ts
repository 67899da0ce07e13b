/** The place behind a ref, as a peer: the three kinds speak one protocol. */
import { PLACES, type PlaceKind } from "../protocols/actors/place.ts";
import { BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import type { Messages } from "../protocols/protocol.ts";
import type { Context, Peer } from "../runtime/actor.ts";

export type PlaceMessages = (typeof PLACES)[PlaceKind]["messages"];

/** A place of this tenant, or of the platform. Throws `actor.unknown_kind` for a ref that names no place. */
export function placePeer<S, M extends Messages>(
  ctx: Pick<Context<S, M>, "actor">,
  ref: ActorRef,
): Peer<PlaceMessages> {
  if (!Object.hasOwn(PLACES, ref.kind)) {
    throw new BerthError("actor.unknown_kind", `"${ref.kind}" is not a kind of place`);
  }
  return ctx.actor(PLACES[ref.kind as PlaceKind], ref.key);
}
