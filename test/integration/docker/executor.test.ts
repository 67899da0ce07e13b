/** What the executor does to a container that it has to itself: invariants K1 to K3, O1 and W1 to W3. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ContainerWorker, startContainerWorker } from "../../support/container-worker.ts";
import { describeDocker } from "../../support/docker.ts";
import { eventually } from "../../support/eventually.ts";
import { type Broker, NodeDouble, orderOf, startBroker } from "../../support/executor-rig.ts";

const LOOP = "while :; do sleep 1; done";
/** Fills the container with processes, each of a session of its own, and goes on; all of them have left the job behind. */
const SWARM = `#!/usr/bin/env python3
import os, signal, time
if "BERTH_RUN" in os.environ:
    if os.fork() == 0:
        os.execve("/usr/bin/python3", ["python3", __file__], {})
    time.sleep(1000)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
is_full = False
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        if not is_full:
            print("full", flush=True)
        is_full = True
`;
/** Leaves its session, its parent and its environment behind. */
const STRAY = `env -i /usr/bin/setsid -f /bin/sh -c '/usr/bin/setsid -f /bin/sh -c "${LOOP}"'`;

describeDocker("in its own container an executor", () => {
  let broker: Broker;
  let node: NodeDouble;
  beforeAll(async () => {
    broker = await startBroker();
    node = await NodeDouble.open(broker);
  });
  afterAll(async () => {
    await node?.[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
  });

  const begun = async (worker: ContainerWorker, script: string) => {
    const order = orderOf("shell", `${script}\necho begun\nsleep 1000`);
    expect(await node.tell(worker.id, { type: "run", order })).toEqual({ ok: true });
    const log = node.session(order.session_id);
    await eventually(() => log.text().includes("begun"), { name: "begun" });
    return order;
  };
  const cancel = async (worker: ContainerWorker, order: ReturnType<typeof orderOf>) => {
    const { job_id } = order;
    await node.tell(worker.id, { type: "cancel", job_id, attempt: 1, by: "ann" });
    return (await node.over(order)).outcome;
  };
  const run = (worker: ContainerWorker, script: string) =>
    node.run(worker.id, orderOf("shell", script));

  it("is somebody when it is told who, after a pause in which it was nobody", async () => {
    await using worker = await startContainerWorker(broker, node, {
      env: { BERTH_ORPHAN_AFTER_MS: "3000" },
      meanwhile: async (container) => {
        // The engine's runtime gives a freeze up when the machine is busy.
        await eventually(() => container.pause(), { name: "paused" });
        await container.unpause();
      },
    });
    expect((await run(worker, "id -u; hostname")).text()).toContain("1000");
  });

  it("is closed to its jobs, which run as the same user: memory, environment, descriptors, where it is", async () => {
    await using worker = await startContainerWorker(broker, node);
    const files = ["maps", "environ", "auxv", "cwd/", "fd/", "mem"];
    const script = (of: string) =>
      files.map((file) => `head -c 1 /proc/${of}/${file} 2>&1`).join("\n");
    const lines = async (of: string) => (await run(worker, script(of))).text().trim().split("\n");
    const refusals = (await lines("$PPID")).filter((line) => line.includes("Permission denied"));
    expect(refusals).toHaveLength(files.length);
    // It would have been told of a process that is open.
    expect((await lines("$$")).join()).not.toContain("Permission denied");
  });

  describe("that cancels a job", () => {
    it("ends what nothing ties to the job any more, before it says so, and leaves alone who came from outside", async () => {
      await using worker = await startContainerWorker(broker, node);
      const order = await begun(worker, `${STRAY}\n${STRAY}`);
      worker.exec(["sleep", "4321"]).catch(() => {});
      const commands = async (command: string) =>
        (await worker.processes()).filter((line) => line.includes(command)).length;
      await eventually(async () => (await commands(LOOP)) === 2, { name: "strays run" });
      await eventually(async () => (await commands("sleep 4321")) === 1, { name: "a visitor" });
      expect(await cancel(worker, order)).toMatchObject({ state: "cancelled" });
      const left = await worker.processes();
      expect(left.filter((line) => !/docker-init|executor|sleep 4321/.test(line))).toEqual([]);
      expect(left).toHaveLength(3);
    });

    it("spares the processes of the job beside it, also those in sessions of their own", async () => {
      await using worker = await startContainerWorker(broker, node, { mode: "user", slots: 2 });
      const first = await begun(worker, STRAY);
      const second = await begun(worker, "setsid -f sleep 1234 > /dev/null");
      await cancel(worker, first);
      const left = (await worker.processes()).join("\n");
      expect(left).toContain("sleep 1234");
      expect(left).not.toContain(LOOP);
      expect(await cancel(worker, second)).toMatchObject({ state: "cancelled" });
      expect(await worker.processes()).toHaveLength(2);
    });

    it("hears of it, and outruns a job that fills the container with processes that hide, and forks on", async () => {
      await using worker = await startContainerWorker(broker, node, { processes: 200 });
      const order = orderOf("shell", SWARM);
      await node.tell(worker.id, { type: "run", order });
      const isFull = () => node.session(order.session_id).text().includes("full");
      await eventually(isFull, { within: 30_000, name: "it has as many as it may" });
      const outcome = await cancel(worker, order);
      expect(outcome).toMatchObject({ state: "cancelled" });
      expect(outcome?.state === "cancelled" && outcome.processes_killed).toBeGreaterThan(100);
      expect(await worker.processes()).toHaveLength(2);
      expect((await run(worker, "echo on")).text()).toBe("on\n");
    });
  });

  describe("whose memory runs out", () => {
    const EATS = "python3 -c 'x = bytearray(10**9)'";

    it("fails the job by that name and the limit, whichever of its processes died, and goes on", async () => {
      await using worker = await startContainerWorker(broker, node, { memoryMib: 192 });
      const failure = {
        state: "failed",
        error: {
          code: "job.out_of_memory",
          message: "out of memory: the worker's limit is 192 MiB",
        },
      };
      expect((await run(worker, `exec ${EATS}`)).outcome).toMatchObject(failure);
      expect(
        (await run(worker, `sh -c "${EATS.replaceAll("'", '\\"')}"; exit 3`)).outcome,
      ).toMatchObject({ ...failure, exit_code: 3 });
      expect((await run(worker, `${EATS} || true`)).outcome).toMatchObject({
        state: "succeeded",
      });
      const other = await run(worker, "exit 3");
      expect(other.outcome).toMatchObject({ error: { code: "agent.failed" } });
      expect(await worker.processes()).toHaveLength(2);
    });

    it("is the last to be taken by the kernel, and the first to be served", async () => {
      await using worker = await startContainerWorker(broker, node);
      // Both hold from the moment after a start.
      const script = `
        until grep -x 500 /proc/self/oom_score_adj; do :; done
        until grep -x 0 /proc/$PPID/oom_score_adj; do :; done
        until nice | grep -x 19; do :; done; cut -d ' ' -f 19 /proc/$PPID/stat`;
      expect((await run(worker, script)).text()).toBe("500\n0\n19\n0\n");
    });

    it("calls a job that was cancelled cancelled", async () => {
      await using worker = await startContainerWorker(broker, node, { memoryMib: 192 });
      const order = await begun(worker, EATS);
      expect(await cancel(worker, order)).toMatchObject({ state: "cancelled" });
    });
  });

  describe("between two jobs", () => {
    const PLACES = '. "$HOME" "$TMPDIR" /tmp /tmp/berth /tmp/berth/workspace /dev/shm';
    const LEAVES = `
      for place in ${PLACES}; do
        echo secret > $place/left; echo secret > $place/.hidden
        mkdir -p $place/folder/deep $place/closed/deep; echo secret > $place/closed/deep/left
        chmod 0500 $place/folder; ln -s /etc $place/link
      done
      echo 'export SECRET=1' > $HOME/.profile; cp $HOME/.profile $HOME/.bashrc
      mkfifo /tmp/pipe
      for closed in /var/tmp /home/berth-agent /berth /run /opt; do ! touch $closed/left; done
      ipcmk --shmem 4096; ipcmk --semaphore 1; ipcmk --queue
      : > /dev/mqueue/left
      ${STRAY}
      sleep 1000 &`;
    /** All that belongs to the user, wherever it lies, and all else that lasts. */
    const FINDS = `
      find / /tmp /tmp/berth /dev/shm /dev/mqueue -xdev -user 1000 -not -path '/proc/*' 2>/dev/null
      cat /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg | grep 1000
      env | grep SECRET
      cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o '[s]leep'`;
    const CLOSES = `for place in ${PLACES}; do chmod 0 $place/closed/deep $place/closed; done; echo done`;
    /** Each job has folders and a script of its own name. */
    const listed = (log: Awaited<ReturnType<typeof run>>) =>
      log
        .text()
        .replaceAll(/job-[\w-]+/g, "job")
        .trim()
        .split("\n")
        .toSorted();

    it("removes files, memory, queues and processes, wherever they are, so that the next finds nothing", async () => {
      await using worker = await startContainerWorker(broker, node);
      const clean = listed(await run(worker, FINDS));
      const left = listed(await run(worker, `${LEAVES}\n${FINDS}\n${CLOSES}`));
      expect(listed(await run(worker, FINDS))).toEqual(clean);
      // The list would have shown each of them.
      expect(left).toEqual(
        expect.arrayContaining([
          ...["/tmp/left", "/tmp/pipe", "/tmp/berth/.hidden", "/dev/shm/closed/deep/left"],
          ...["/dev/mqueue/left", "/tmp/berth/workspace/tmp/job/home/.bashrc", "sleep", "done"],
        ]),
      );
      expect(left.filter((line) => / 1000 +1000 /.test(line))).toHaveLength(3);
    });

    it("of one user keeps work and home, and nothing temporary", async () => {
      await using worker = await startContainerWorker(broker, node, { mode: "user" });
      await run(worker, 'echo kept > kept; echo kept > "$HOME/kept"; echo gone > "$TMPDIR/gone"');
      const log = await run(
        worker,
        'cat kept "$HOME/kept"; ls -A "$TMPDIR"; ls /berth/workspace/tmp',
      );
      expect(log.text()).toMatch(/^kept\nkept\nscript-job-[\w-]+\njob-[\w-]+\n$/);
      const { outcome } = await run(worker, "true");
      expect(outcome).toMatchObject({ state: "succeeded" });
    });

    it("that cannot wipe says how the job ended, and ends", async () => {
      await using worker = await startContainerWorker(broker, node);
      await worker.exec(["mkdir", "--mode", "0733", "/tmp/nobody-may-list"], "root");
      const log = await run(worker, "echo last");
      expect(log.outcome).toMatchObject({ state: "succeeded" });
      const state = async () => (await worker.container.inspect()).State;
      await eventually(async () => !(await state()).Running, { name: "the worker's end" });
      expect(await state()).toMatchObject({ ExitCode: 0 });
      expect(await worker.log()).toContain("could not be cleaned up");
    });
  });
});
