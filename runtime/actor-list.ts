/** Actors in a node's memory, as a person lists them: filtered, sorted, cut; only what is shown is described. */
import { refName } from "../protocols/ids.ts";
import type { ActivationQuery, ApiActivation } from "../protocols/inspection.ts";
import type { Activation } from "./activation.ts";

export interface Held {
  readonly activation: Activation;
  readonly partition: number;
}

export interface ActorList {
  readonly node: string;
  readonly total: number;
  readonly actors: ApiActivation[];
}

export function describeHeld(node: string, { activation, partition }: Held): ApiActivation {
  return { ...activation.describe(), node, partition };
}

export function listActors(node: string, held: Iterable<Held>, query: ActivationQuery): ActorList {
  const { after = "", kind, limit, sort, state, tenant } = query;
  const meant = [...held].filter(({ activation: { ref } }) => {
    if ((kind ?? ref.kind) !== ref.kind || (tenant ?? ref.tenant) !== ref.tenant) return false;
    return after === "" || refName(ref) > after;
  });
  const sorted = sort === "name" ? byName(meant) : byWaiting(meant);
  if (state === undefined) {
    const actors = sorted.slice(0, limit).map((each) => describeHeld(node, each));
    return { node, total: meant.length, actors };
  }
  const found = sorted
    .map((each) => describeHeld(node, each))
    .filter((view) => view.state.type === state);
  return { node, total: found.length, actors: found.slice(0, limit) };
}

function byName(held: Held[]): Held[] {
  const named = held.map((each) => ({ each, name: refName(each.activation.ref) }));
  return named.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map(({ each }) => each);
}

function byWaiting(held: Held[]): Held[] {
  return held.toSorted((a, b) => b.activation.waiting - a.activation.waiting);
}
