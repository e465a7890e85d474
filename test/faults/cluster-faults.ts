import { setTimeout as sleep } from 'node:timers/promises';
import { HOUR_MS } from '@video-pipeline/frame';
import type { ClusterView } from './brokers.ts';
import { electLeaders } from './elect-leaders.ts';
import { anyBroker, type Fault, type Scene } from './faults.ts';
import { DETECTIONS_TOPIC, FRAMES_TOPIC, INGEST_TOPIC, PARTITIONS, type StageName } from './rig.ts';

/** Longer than the timeouts of a broker's heartbeat (9 s) and of a kafkajs request (30 s). */
const PAUSED_MS = 40_000;
const CUT_MS = 15_000;
/** Kafka never removes a partition. */
const MAX_PARTITIONS = PARTITIONS + 4;
/** Longer than the session timeout of a group's member. */
const FROZEN_MS = 8_000;
/** How long two killed brokers may need to restart. */
const ATTEMPTS = 40;
const AGAIN_MS = 3_000;
const TOPICS = [FRAMES_TOPIC, DETECTIONS_TOPIC, INGEST_TOPIC];

const onCluster = (
  name: string,
  weight: number,
  play: (cluster: ClusterView, scene: Scene) => Promise<void>,
): Fault => ({
  name: `cluster: ${name}`,
  weight,
  async play(scene) {
    if (!scene.rig.cluster) throw new Error(`${name}: there is no cluster`);
    // The admin may meet a fault that is under way: what it was to do is then tried again.
    for (let attempt = 1; ; attempt++) {
      try {
        return await play(scene.rig.cluster, scene);
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
        await sleep(AGAIN_MS);
      }
    }
  },
});

const anyPartition = ({ random }: Scene) => random.integer(0, PARTITIONS - 1);

/** Moves the replicas of each partition, and waits for the end. */
async function reassign({ admin }: ClusterView, change: (replicas: number[]) => number[]): Promise<void> {
  const { topics } = await admin.fetchTopicMetadata({ topics: TOPICS });
  await admin.alterPartitionReassignments({
    topics: topics.map(({ name, partitions }) => ({
      topic: name,
      partitionAssignment: partitions.map(({ partitionId, replicas }) => ({
        partition: partitionId,
        replicas: change(replicas),
      })),
    })),
  });
}

const turned = ([first = 1, ...rest]: number[]) => [...rest, first];
const anyOf = <Item>({ random }: Scene, items: readonly Item[]) =>
  items[random.integer(0, Math.max(0, items.length - 1))];

export const ROLLING_RESTART = onCluster('each broker restarted in turn', 2, async (_, { rig }) => {
  for (const broker of rig.brokers) await broker.restart();
});

/** Faults that only a cluster of three has. */
export const CLUSTER_FAULTS: readonly Fault[] = [
  ROLLING_RESTART,
  onCluster('kill -9 of a leader while frames are published', 2, async (cluster, scene) =>
    (await cluster.leaderOf(FRAMES_TOPIC, anyPartition(scene))).kill(),
  ),
  onCluster('kill -9 of a leader while detections are read', 2, async (cluster, scene) =>
    (await cluster.leaderOf(DETECTIONS_TOPIC, anyPartition(scene))).kill(),
  ),
  onCluster("kill -9 of a group's coordinator before a commit", 2, async (cluster, { rig, random }) => {
    const group: StageName = random.next() < 0.5 ? 'detect' : 'annotate';
    const coordinator = await cluster.coordinatorOf(group);
    rig.injectFault(group, { hold: () => coordinator.kill() });
  }),
  onCluster('two of three killed', 1, async (_, { rig, random }) => {
    const [one, other] = random.shuffle(rig.brokers);
    await Promise.all([one?.kill(), other?.kill()]);
  }),
  onCluster('a broker paused for 40 s', 1, (_, scene) => anyBroker(scene).freeze(PAUSED_MS)),
  onCluster('leaders moved', 2, (cluster) => reassign(cluster, turned)),
  onCluster('leaders elected (kafka-leader-election)', 2, async (cluster, scene) => {
    await reassign(cluster, turned);
    await electLeaders(anyOf(scene, cluster.wires)?.port ?? 0);
  }),
  onCluster('replicas taken away and given back', 1, async (cluster) => {
    await reassign(cluster, (replicas) => replicas.slice(-2));
    await sleep(5_000);
    await reassign(cluster, (replicas) => [...replicas, ...[1, 2, 3].filter((id) => !replicas.includes(id))]);
  }),
  onCluster('partitions added', 1, async ({ admin }) => {
    const { topics } = await admin.fetchTopicMetadata({ topics: TOPICS });
    const topicPartitions = topics
      .map(({ name, partitions }) => ({ topic: name, count: partitions.length + 1 }))
      .filter(({ count }) => count <= MAX_PARTITIONS);
    if (topicPartitions.length > 0) await admin.createPartitions({ topicPartitions });
  }),
  onCluster('the network to one broker cut for 15 s', 2, async ({ wires }, { random }) => {
    const wire = wires[random.integer(0, wires.length - 1)];
    wire?.cut();
    await sleep(CUT_MS);
    wire?.mend();
  }),
  ...(['detect', 'annotate'] as const).flatMap((stage) => [
    onCluster(`${stage}: the clock goes an hour ahead`, 1, async (_, { rig }) =>
      rig.injectFault(stage, { clock: HOUR_MS }),
    ),
    onCluster(`${stage}: the clock goes back an hour`, 1, async (_, { rig }) =>
      rig.injectFault(stage, { clock: -HOUR_MS }),
    ),
    onCluster(`${stage}: three pollers, one of them frozen`, 1, async (_, { rig }) => {
      const helpers = [rig.helper(stage, 1), rig.helper(stage, 2)];
      // Kafka may be down at this moment. A process that has not started can not be frozen.
      const started = await Promise.all(
        helpers.map((helper) =>
          helper.start().then(
            () => helper,
            () => undefined,
          ),
        ),
      );
      await started.find((helper) => helper)?.freeze(FROZEN_MS);
      await Promise.all(helpers.map((helper) => helper.stop()));
    }),
  ]),
  onCluster('ingest: kill -9', 1, async (_, scene) => anyOf(scene, scene.rig.ingestHosts)?.kill()),
  onCluster('ingest: frozen for 8 s', 1, async (_, scene) =>
    anyOf(scene, scene.rig.ingestHosts)?.freeze(FROZEN_MS),
  ),
  {
    name: 's3: 2 s a PUT',
    weight: 1,
    play: ({ rig }) => rig.wires.s3.arm({ do: 'delay', ms: 2_000 }, 40),
  },
];
