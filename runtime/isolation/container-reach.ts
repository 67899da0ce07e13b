/** The isolation policy as what a container's network lets it reach: a pure projection, for every kind of engine. */
import { DOORS, type Door, type GrantScope, type Policy } from "../../protocols/isolation.ts";

/** `fleet`: that of its own fleet alone. */
export type DoorReach = "none" | "fleet" | "any";
export type ContainerReach = Readonly<Record<Door, DoorReach>>;

const REACH: Readonly<Record<GrantScope, DoorReach>> = {
  own: "none",
  user: "none",
  tenant: "none",
  fleet: "fleet",
  any: "any",
};

/** A network knows of no user and no tenant: what a narrower grant allows is not let through. */
export function containerReach(policy: Policy): ContainerReach {
  const reachOf = (door: Door): DoorReach => {
    const found = policy
      .filter(
        ({ action, principal, resources }) =>
          principal === "container" && action === "connect" && resources.includes(door),
      )
      .map(({ scope }) => REACH[scope]);
    if (found.includes("any")) return "any";
    return found.includes("fleet") ? "fleet" : "none";
  };
  return Object.fromEntries(DOORS.map((door) => [door, reachOf(door)])) as ContainerReach;
}
