import ConsumerGroup from 'kafkajs/src/consumer/consumerGroup.js';

/** Members whose processes ended without leaving their group, by group. */
const former = new Map<string, Set<string>>();

/** Says that a member of a group is no more: whoever joins the group next from here tells the broker first. */
export function noteFormerMember(groupId: string, memberId: string): void {
  former.set(groupId, (former.get(groupId) ?? new Set()).add(memberId));
}

/**
 * A broker keeps the partitions of a member that was killed until its session ends, 6 s or more, and lets nobody else join
 * meanwhile. Here a consumer takes leave of the group in the name of those that are known to be no more, before it joins.
 */
export function leaveForFormerMembers(): void {
  const { joinAndSync } = ConsumerGroup.prototype;
  ConsumerGroup.prototype.joinAndSync = async function () {
    const { groupId, cluster } = this;
    const members = former.get(groupId) ?? [];
    former.delete(groupId);
    for (const memberId of members) {
      const coordinator = await cluster.findGroupCoordinator({ groupId });
      // The broker may have put it out of the group by itself.
      await coordinator.leaveGroup({ groupId, memberId }).catch(() => {});
    }
    return joinAndSync.call(this);
  };
}

/**
 * kafkajs 2.2.4 asks a coordinator that can't be reached until the consumer crashes. And a consumer whose member id the
 * broker has forgotten, and which can't join again at once, goes on without one: it reads and delivers, sends no heartbeat,
 * and each commit is refused. Here both look the coordinator up and join again.
 */
export function joinAgain(): void {
  const { heartbeat } = ConsumerGroup.prototype;
  ConsumerGroup.prototype.heartbeat = async function (options) {
    if (!this.memberId) throw rebalancing(new Error(`no member of consumer group ${this.groupId} any more`));
    try {
      await heartbeat.call(this, options);
    } catch (error) {
      throw /^KafkaJSConnection/.test((error as Error).name) ? rebalancing(error as Error) : error;
    }
  };
}

/** Marks an error as one upon which kafkajs joins the group again. */
function rebalancing(error: Error): Error {
  return Object.assign(error, { type: 'NOT_COORDINATOR_FOR_GROUP' });
}
