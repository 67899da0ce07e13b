/** Named points of a turn's life, so that a test can end a node exactly there. */
import type { ActorRef } from "../protocols/ids.ts";

/** `handled`: nothing is stored yet. `committed`: stored, nothing sent. `published`: sent, nothing acknowledged. */
export type Step = "handled" | "committed" | "published";

/** Called at each step of each turn that writes; the turn goes on when it returns or resolves. */
export type OnStep = (step: Step, ref: ActorRef) => void | Promise<void>;
