import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { startKafka } from '/work/main/packages/local/src/index.ts';
import { connectKafka, ensureTopics } from '/work/main/packages/kafka/src/index.ts';
const dataDir = await mkdtemp('/tmp/prof-');
const kafka = await startKafka({ dataDir });
const admin = connectKafka('bench', { warn() {}, error() {} }, { KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrap, KAFKA_AUTH: 'none', AWS_REGION: '' } as any).admin();
await admin.connect(); await ensureTopics(admin, [{topic:'ingest',partitions:1}]); await admin.disconnect();
const variants: [string, string][] = [['plain',''],['accounted','--external-memory-accounted-in-global-limit'],['noinc','--no-incremental-marking'],['acc+noinc','--external-memory-accounted-in-global-limit --no-incremental-marking']];
for (let i=0;i<2;i++) for (const [name,flags] of variants) {
const c = spawn('bash', ['-c', `TIMEFORMAT='${name} user %U sys %S real %R'; time node --trace-gc ${flags} /work/main/ingest-host/src/main.ts >/tmp/gc-${name}.log; grep -c Mark-Compact /tmp/gc-${name}.log`], { env: {...process.env, STREAMS: JSON.stringify([{id:'bench',url:'/work/main/.cache/bench/footage-720p.mp4'}]), KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrap, KAFKA_TOPIC:'ingest', MAX_FRAME_BYTES:'900000', HEALTH_PORT:'0', MAX_FRAMES: '250'}, stdio: ['ignore','inherit','inherit']});
await once(c,'exit');
}
await kafka.stop(); await rm(dataDir,{recursive:true,force:true});
