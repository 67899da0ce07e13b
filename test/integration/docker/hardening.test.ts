/**
 * What an agent tries from inside its container, one rule of the contract after the other. Each attack runs as a job
 * does: by the executor, as the agent's user.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { WorkerSpec } from "../../../protocols/executor.ts";
import { describeDocker, docker } from "../../support/docker.ts";
import { type DockerRig, dockerDriverRig } from "../../support/docker-driver-rig.ts";
import { eventually } from "../../support/eventually.ts";
import { type Broker, orderOf, type SessionLog, startBroker } from "../../support/executor-rig.ts";

const MIB = 1024 ** 2;
const LIMITS = {
  cpus: 0.5,
  memory_bytes: 192 * MIB,
  storage_bytes: 64 * MIB,
  processes: 100,
} as const;
const JOB_MS = 60_000;

describeDocker("an agent in a container", () => {
  let broker: Broker;
  let rig: DockerRig;
  let host: Server;
  beforeAll(async () => {
    broker = await startBroker();
    rig = await dockerDriverRig(broker);
    for (const spec of [mallory, victim]) {
      await rig.driver.start(spec, rig.connection);
      await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 30_000 });
    }
    host = createServer((_request, response) => response.end("host service"));
    await new Promise<void>((resolve) => host.listen(0, "0.0.0.0", resolve));
  });
  afterAll(async () => {
    host?.close();
    await rig?.[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
  });

  const spec = (worker: string, tenant: string): WorkerSpec => ({
    worker,
    tenant,
    user: "u",
    tier: "pro",
    slots: 1,
    workspace: "user",
    workspace_key: "u-u",
    network: "user",
    internet: false,
    ...LIMITS,
  });
  const mallory = spec("wrk-mallory", "mallory");
  const victim = spec("wrk-victim", "victim");

  const attack = async (script: string): Promise<SessionLog> =>
    rig.node.run(mallory.worker, orderOf("shell", script), JOB_MS);
  const said = async (script: string) => (await attack(script)).text().trim();
  /** The worker took the attack and works as before. */
  const stillWorks = async () => expect(await said("echo fine")).toBe("fine");

  describe("finds a machine that", () => {
    test("it cannot write to, but for its workspace and temporary files", async () => {
      const places =
        "/ /usr /usr/local/bin /etc /opt /opt/berth /var /home /root /berth /sys /proc";
      const script = `for d in ${places}; do touch $d/x 2>/dev/null && echo "wrote $d"; done; touch ~/x /tmp/x && echo kept`;
      expect(await said(script)).toBe("kept");
    });

    test("gives it no privilege and no way to one", async () => {
      const status = await said(
        "id -u; grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status",
      );
      const [uid, ...lines] = status.split("\n");
      expect(uid).toBe("1000");
      const values = Object.fromEntries(
        lines.map((line) => line.split(/:\s+/) as [string, string]),
      );
      for (const name of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
        expect(Number.parseInt(values[name] ?? "1", 16)).toBe(0);
      expect(values).toMatchObject({ NoNewPrivs: "1", Seccomp: "2" });
      const tricks = [
        "unshare -U true",
        "unshare -n true",
        "mount -t tmpfs none /tmp",
        "chroot / true",
        "python3 -c 'import os; os.setuid(0)'",
        "python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'",
        "su -c true",
        "echo 1 > /proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger",
        "mknod /tmp/disk b 7 0",
      ];
      const script = tricks.map(
        (trick) =>
          `(${trick}) </dev/null >/dev/null 2>&1 && echo "worked: ${trick.replaceAll('"', "")}"`,
      );
      expect(await said(`${script.join("\n")}\ntrue`)).toBe("");
    });

    test("leaves no core of a process that may hold a key", async () => {
      expect(await said("ulimit -c; ulimit -Hc")).toBe("0\n0");
    });

    test("has no socket of the engine that runs it", async () => {
      const script =
        "find / -xdev -name 'docker*.sock' 2>/dev/null; curl -s --max-time 2 --unix-socket /var/run/docker.sock http://x/version; true";
      expect(await said(script)).toBe("");
    });
  });

  describe("is stopped at its limits:", () => {
    test("a fork bomb ends at the processes that it may have, and the worker lives on", async () => {
      const bomb = `
import os, time
born = 0
try:
    while born < 1000:
        if os.fork() == 0:
            time.sleep(30); os._exit(0)
        born += 1
except OSError as error:
    print("stopped", born < ${LIMITS.processes}, error.errno, flush=True)
`;
      expect(await said(`cat > bomb.py <<'EOF'${bomb}EOF\npython3 bomb.py`)).toBe(
        "stopped True 11",
      );
      await stillWorks();
    });

    test("memory: the job fails by name, with the limit, and the worker lives on", async () => {
      const log = await attack(`python3 -c 'x = bytearray(${LIMITS.memory_bytes * 2})'`);
      expect(log.outcome).toMatchObject({
        state: "failed",
        error: { code: "job.out_of_memory", message: expect.stringContaining("192 MiB") },
      });
      await stillWorks();
    });

    test("disk: a workspace, temporary files and shared memory are full, and say so", async () => {
      const fill = (path: string) =>
        `head -c ${256 * MIB} /dev/zero > ${path} 2>/dev/null || echo "full at $(($(stat -c %s ${path}) / ${MIB})) of ${path}"; rm -f ${path}`;
      const text = await said(["fill", "/tmp/fill", "/dev/shm/fill"].map(fill).join("\n"));
      const sizes = Object.fromEntries(
        [...text.matchAll(/full at (\d+) of (\S+)/g)].map(([, mib, path]) => [path, Number(mib)]),
      );
      expect(Object.keys(sizes).toSorted()).toEqual(["/dev/shm/fill", "/tmp/fill", "fill"]);
      expect(sizes["fill"]).toBeLessThan(LIMITS.storage_bytes / MIB);
      expect(sizes["fill"]).toBeGreaterThan(30);
      expect(sizes["/tmp/fill"]! + sizes["/dev/shm/fill"]!).toBeLessThan(LIMITS.memory_bytes / MIB);
      await stillWorks();
    });

    test("CPU: two busy processes get half of one processor between them", async () => {
      const script = `
import os, time
began = time.monotonic()
children = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        while time.monotonic() < began + 4: pass
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
times = os.times()
print((times.children_user + times.children_system) / (time.monotonic() - began))
`;
      const share = Number(await said(`cat > burn.py <<'EOF'${script}EOF\npython3 burn.py`));
      expect(share).toBeGreaterThan(0.1);
      expect(share).toBeLessThan(LIMITS.cpus * 1.3);
    });
  });

  describe("reaches the doors to the broker and the proxy, and nobody else:", () => {
    /**
     * Directly, or by the proxy that the agent is told of. Exit status of curl: 0 answered, 1 protocol error and 52 or 56 means
     * something listened, 6 has no address, 7 refused, 28 nothing came back; 22 the proxy said no.
     */
    const reached = async (targets: readonly string[], ...options: string[]): Promise<string[]> => {
      const script = targets
        .map(
          (target) =>
            `curl -s ${options.join(" ")} --max-time 4 -o /dev/null http://${target}; echo "${target} $?" &`,
        )
        .join("\n");
      const text = await said(`${script}\nwait`);
      const lines = text.split("\n").map((line) => line.split(" "));
      expect(lines).toHaveLength(targets.length);
      return lines
        .filter(([, status]) => !["6", "7", "22", "28"].includes(status ?? ""))
        .map(([target]) => target!);
    };
    const directly = (targets: readonly string[]) => reached(targets, "--noproxy", "'*'");
    const byProxy = (targets: readonly string[]) => reached(targets, "--fail", "--noproxy", "''");

    test("its own gateway's doors are open, and nothing else there", async () => {
      const { port } = host.address() as AddressInfo;
      const gateway = await gatewayOf(mallory);
      const ports = [14_222, 14_223, port, 22];
      const places = ports.map((one) => `${gateway}:${one}`);
      expect(await directly(places)).toEqual(places.slice(0, 2));
      expect(await byProxy(places)).toEqual([]);
    });

    test("the host's services are out of reach at every address of the host", async () => {
      const { port } = host.address() as AddressInfo;
      const own = Object.values(networkInterfaces())
        .flatMap((addresses) => addresses ?? [])
        .filter(({ family, internal }) => family === "IPv4" && !internal)
        .map(({ address }) => `${address}:${port}`);
      expect(own.length).toBeGreaterThan(1);
      const places = [...own, `host.docker.internal:${port}`];
      expect(await directly(places)).toEqual([]);
      expect(await byProxy(places)).toEqual([]);
    });

    test("another tenant's container is out of reach, by address and by name", async () => {
      const { address, name } = await placeOf(victim);
      expect(await directly([`${address}:8080`, `${name}:8080`])).toEqual([]);
      expect(await byProxy([`${address}:8080`, `${name}:8080`])).toEqual([]);
      // And the other's health server does answer: to itself.
      const answer = await rig.exec(victim.worker, "curl", "-s", "http://127.0.0.1:8080/livez");
      expect(answer.trim()).toBe("ok");
    });
  });

  describe("is told of the proxy", () => {
    test("as programs look for it, with a token that stands in no configuration of its container", async () => {
      const [url = "", ...rest] = (
        await said(
          'echo "$HTTPS_PROXY"; echo "$https_proxy"; echo "$http_proxy"; echo "$HTTP_PROXY"; echo "$NO_PROXY"',
        )
      ).split("\n");
      const { username, password, host: place } = new URL(url);
      const gateway = await gatewayOf(mallory);
      expect(rest).toEqual([url, url, url, `localhost,127.0.0.1,::1,${gateway}`]);
      expect(username).toBe(mallory.worker);
      expect(place).toBe(`${gateway}:14223`);
      expect(password.length).toBeGreaterThan(40);
      const info = await docker.getContainer(await rig.containerOf(mallory.worker)).inspect();
      expect(JSON.stringify(info)).not.toContain(password);
      expect(info.HostConfig.Dns).toEqual(["127.0.0.1"]);
    });

    test("and hears from it which host it may not reach", async () => {
      const answer = await said(
        "curl -s -o /dev/null -w '%{http_connect}' https://secret.example.test",
      );
      expect(answer).toBe("403");
      expect(await said("curl -s http://secret.example.test")).toMatch(
        /secret\.example\.test is not on the list/,
      );
    });
  });

  async function networkOf(of: WorkerSpec) {
    const info = await docker.getContainer(await rig.containerOf(of.worker)).inspect();
    const [network] = Object.values(info.NetworkSettings.Networks);
    return { name: info.Name.slice(1), network };
  }

  async function gatewayOf(of: WorkerSpec): Promise<string> {
    return (await networkOf(of)).network?.Gateway ?? "";
  }

  async function placeOf(of: WorkerSpec) {
    const { name, network } = await networkOf(of);
    return { name, address: network?.IPAddress ?? "" };
  }
});
