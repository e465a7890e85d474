// Joins a group, until it is killed: node former-member.ts <broker> <topic> <group>
import { connectKafka } from '@video-pipeline/kafka';

const [KAFKA_BOOTSTRAP_SERVERS = '', topic = '', groupId = ''] = process.argv.slice(2);
const settings = { KAFKA_BOOTSTRAP_SERVERS, KAFKA_AUTH: 'none', AWS_REGION: 'x' } as const;
const consumer = connectKafka('former', console, settings).consumer({ groupId, sessionTimeout: 60_000 });
consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => process.send?.(payload.memberId));
await consumer.subscribe({ topic });
await consumer.run({ eachMessage: async () => {} });
