import ConsumerGroup from 'kafkajs/src/consumer/consumerGroup.js';

/** An offset that stands for that of the oldest record. */
const EARLIEST = '-2';
/** Members whose processes ended without leaving their group, by group. */
const former = new Map<string, Set<string>>();

/** Notes that a member of a group has ended. The next consumer of this process in the group tells the broker first. */
export function noteFormerMember(groupId: string, memberId: string): void {
  former.set(groupId, (former.get(groupId) ?? new Set()).add(memberId));
}

/**
 * A broker keeps the partitions of a killed member until its session ends, after 6 s or more, and lets no other member
 * join meanwhile. Here a consumer first leaves the group on behalf of members that are known to have ended.
 */
export function leaveForFormerMembers(): void {
  const { joinAndSync } = ConsumerGroup.prototype;
  ConsumerGroup.prototype.joinAndSync = async function () {
    const { groupId, cluster } = this;
    const members = former.get(groupId) ?? [];
    former.delete(groupId);
    for (const memberId of members) {
      const coordinator = await cluster.findGroupCoordinator({ groupId });
      // The broker may have removed the member already.
      await coordinator.leaveGroup({ groupId, memberId }).catch(() => {});
    }
    return joinAndSync.call(this);
  };
}

/**
 * Works around three faults of kafkajs 2.2.4. 1: it asks an unreachable coordinator again until the consumer crashes.
 * 2: a consumer whose member id the broker has forgotten, and which can't join again at once, goes on without an id. It
 * reads and delivers, sends no heartbeat, and each of its commits is refused. In both cases, the consumer looks up the
 * coordinator and joins again. 3: a new coordinator that still loads the group refuses the join, but knows the member
 * once it has loaded. kafkajs sends its heartbeats there, and its commits to the old coordinator, which refuses each.
 * Here commits go where heartbeats go.
 */
export function joinAgain(): void {
  const { heartbeat } = ConsumerGroup.prototype;
  ConsumerGroup.prototype.heartbeat = async function (options) {
    if (!this.memberId) throw rebalancing(new Error(`no member of consumer group ${this.groupId} any more`));
    try {
      await heartbeat.call(this, options);
      if (this.offsetManager) this.offsetManager.coordinator = this.coordinator;
    } catch (error) {
      throw /^KafkaJSConnection/.test((error as Error).name) ? rebalancing(error as Error) : error;
    }
  };
}

/**
 * If the follower in a consumer's rack lacks an offset, the leader must be asked before the consumer resets to the
 * default offset. kafkajs 2.2.4 tries that, but looks for a number where it stores an object, and so reads the whole
 * partition again. It also hides how many records a reset skips: those that Kafka deleted before they were read.
 */
export function askLeaderBeforeReset(): void {
  const { recoverFromOffsetOutOfRange } = ConsumerGroup.prototype;
  ConsumerGroup.prototype.recoverFromOffsetOutOfRange = async function (error) {
    const { topic, partition } = error;
    const followers = this.preferredReadReplicasPerTopicPartition[topic];
    if (followers?.[partition]) return void delete followers[partition];
    const request = { topic, partitions: [{ partition }], fromBeginning: true };
    // Where the leader does not answer, kafkajs alone logs the reset, without the number.
    const [answer] = await this.cluster.fetchTopicsOffset([request]).catch(() => []);
    const wanted = Number(this.offsetManager?.nextOffset(topic, partition));
    const records = Number(answer?.partitions[0]?.offset) - wanted;
    // The number is negative if the topic was created again, or an unclean election has cut the log.
    if (records > 0)
      this.logger.error('records were deleted before they were read', { topic, partition, records });
    await recoverFromOffsetOutOfRange.call(this, error);
    // The partition has lost its end: whoever has read ahead takes this for the commit that kafkajs does not tell of.
    const commit = { topics: [{ topic, partitions: [{ partition, offset: EARLIEST }] }] };
    if (records <= 0) this.instrumentationEmitter.emit('consumer.commit_offsets', commit);
  };
}

/**
 * kafkajs 2.2.4 asks whether the leader is offline where it means the follower that it reads from. A partition whose
 * follower has gone would stand still for half a minute. Here the leader is read instead.
 */
export function passOverFollowers(): void {
  const { findReadReplicaForPartitions } = ConsumerGroup.prototype;
  ConsumerGroup.prototype.findReadReplicaForPartitions = function (topic, partitions) {
    const followers = this.preferredReadReplicasPerTopicPartition[topic] ?? {};
    for (const { partitionId, offlineReplicas = [] } of this.cluster.findTopicPartitionMetadata(topic))
      if (offlineReplicas.includes(followers[partitionId]?.nodeId ?? -1)) delete followers[partitionId];
    return findReadReplicaForPartitions.call(this, topic, partitions);
  };
}

/** Marks an error so that kafkajs joins the group again. */
function rebalancing(error: Error): Error {
  return Object.assign(error, { type: 'NOT_COORDINATOR_FOR_GROUP' });
}
