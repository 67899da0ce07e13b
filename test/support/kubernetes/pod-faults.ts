/** What is wrong with a pod that Berth's tree makes, as sentences: hardening, limits, probes, and how it leaves. */
import { parseDuration } from "../../../protocols/duration.ts";
import { type Container, isServer, nameOf, type Workload } from "./manifest.ts";

/** Who may do what others may not, and why. */
const EXEMPT: Readonly<Record<string, readonly string[]>> = {
  // It reads the logs of its machine, which are root's.
  "DaemonSet berth-logging/log-agent": ["may run as root", "mounts a folder of its host"],
};

export function podFaults(workload: Workload): string[] {
  const { manifest, pod } = workload;
  const containers = [...pod.spec.containers, ...pod.spec.initContainers];
  const exempt = EXEMPT[nameOf(manifest)] ?? [];
  return [
    ...podSecurity(workload),
    ...containers.flatMap((container) => [
      ...containerSecurity(container),
      ...resourceFaults(container),
      ...imageFaults(container),
    ]),
    ...(isServer(workload) ? pod.spec.containers.flatMap(probeFaults) : []),
    ...leavingFaults(workload),
  ]
    .filter((fault) => !exempt.includes(fault))
    .map((fault) => `${nameOf(manifest)}: ${fault}`);
}

function podSecurity({ pod: { spec } }: Workload): string[] {
  const context = spec.securityContext;
  const needsToken = spec.serviceAccountName !== undefined;
  return [
    ...when(context?.runAsNonRoot !== true || context.runAsUser === 0, "may run as root"),
    ...when(context?.seccompProfile?.type !== "RuntimeDefault", "has no seccomp profile"),
    ...when(spec.hostNetwork === true || spec.hostPID === true, "shares a namespace of its host"),
    ...when(
      !needsToken && spec.automountServiceAccountToken !== false,
      "has a token of the API and no account of its own",
    ),
    ...when(spec.priorityClassName === undefined, "has no priority"),
    ...when(
      spec.volumes.some((volume) => "hostPath" in volume),
      "mounts a folder of its host",
    ),
  ];
}

function containerSecurity({ name, securityContext: context }: Container): string[] {
  return [
    ...when(context?.readOnlyRootFilesystem !== true, `${name} can write its root`),
    ...when(context?.allowPrivilegeEscalation !== false, `${name} may gain privileges`),
    ...when(context?.privileged === true, `${name} is privileged`),
    ...when(!context?.capabilities?.drop?.includes("ALL"), `${name} keeps capabilities`),
    ...when((context?.capabilities?.add?.length ?? 0) > 0, `${name} is given capabilities`),
  ];
}

function resourceFaults({ name, resources }: Container): string[] {
  return (["requests", "limits"] as const).flatMap((kind) =>
    (["cpu", "memory"] as const).flatMap((what) =>
      when(resources?.[kind]?.[what] === undefined, `${name} has no ${kind} of ${what}`),
    ),
  );
}

function imageFaults({ name, image }: Container): string[] {
  const tag = /:(?<tag>[\w][\w.-]*)$/.exec(image)?.groups?.["tag"];
  const isPinned = image.includes("@sha256:") || (tag !== undefined && tag !== "latest");
  return when(!isPinned, `${name} has no version of its image: ${image}`);
}

function probeFaults({ name, livenessProbe, readinessProbe, ports }: Container): string[] {
  const known = new Set(ports.flatMap((port) => [port.name, port.containerPort]));
  const probes = { livenessProbe, readinessProbe };
  return Object.entries(probes).flatMap(([kind, probe]) => [
    ...when(probe === undefined, `${name} has no ${kind}`),
    ...when(
      probe?.httpGet !== undefined && !known.has(probe.httpGet.port),
      `${name}: its ${kind} asks at a port that it has not`,
    ),
  ]);
}

const DEFAULT_GRACE_S = 30;

/** What others send requests to hears of its end before it comes, and has time for both. */
function leavingFaults({ pod: { spec } }: Workload): string[] {
  return spec.containers.flatMap(({ name, env, lifecycle }) => {
    const drain = env.find((variable) => variable.name === "BERTH_DRAIN_TIMEOUT")?.value;
    if (drain === undefined) return [];
    const grace = spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_S;
    const pause = secondsOf(lifecycle?.preStop);
    return [
      ...when(pause === undefined, `${name} has no preStop`),
      ...when(
        grace <= parseDuration(drain) / 1_000 + (pause ?? 0),
        `${name} is killed before it has drained`,
      ),
    ];
  });
}

/** Of `sleep N`; undefined where there is none. */
function secondsOf(preStop: unknown): number | undefined {
  const text = JSON.stringify(preStop ?? null);
  const seconds = /"sleep","(?<seconds>\d+)"/.exec(text)?.groups?.["seconds"];
  return seconds === undefined ? undefined : Number(seconds);
}

const when = (isWrong: boolean, fault: string): string[] => (isWrong ? [fault] : []);
