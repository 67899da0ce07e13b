/** All actors of Berth, for a node to register. */
import type { ActorDefinition } from "../runtime/actor.ts";
import { capacityActor } from "./capacity/capacity.ts";
import { type ActorSettings, actorOptions } from "./options.ts";
import { dedicatedFleet, sharedPool, userWorker } from "./places/places.ts";
import { sessionActor } from "./session/session.ts";
import { supervisorActor } from "./supervisor/supervisor.ts";
import { userActor } from "./user/user.ts";

export function actorDefinitions(settings: ActorSettings): ActorDefinition[] {
  const options = actorOptions(settings);
  const make = [
    userActor,
    sessionActor,
    sharedPool,
    userWorker,
    dedicatedFleet,
    supervisorActor,
    capacityActor,
  ];
  return make.map((definition) => definition(options));
}
