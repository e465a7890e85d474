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
