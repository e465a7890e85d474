import { connectKafka, ensureTopics, orderedProducer } from '@video-pipeline/kafka';
import { readTopic } from '@video-pipeline/recovery';
import { createLogger } from '@video-pipeline/telemetry';

// A process that uses the Kafka of its environment: it creates a topic, writes a record and reads it.
const [topic = ''] = process.argv.slice(2);
const retry = { initialRetryTime: 100, retries: 3 };
const kafka = connectKafka('client', createLogger('client'), undefined, { retry });
const [admin, producer] = [kafka.admin(), orderedProducer(kafka)];
try {
  await admin.connect();
  await ensureTopics(admin, [{ topic, partitions: 1 }]);
  await producer.connect();
  await producer.send({ topic, messages: [{ key: 'yard', value: 'hello' }] });
  await readTopic(kafka, topic, ({ key, value }) => console.log(`read ${key}: ${value}`));
} catch (error) {
  console.log(`failed: ${(error as Error).message}`);
  process.exitCode = 1;
} finally {
  await producer.disconnect();
  await admin.disconnect();
}
