import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@video-pipeline/local';
import { type Api, shaped } from '../infra/models.ts';
import { engines } from './python.ts';

/**
 * Reads `[[api, operation, parameters]]`, calls AWS by boto3, and writes each response, or the error as a text. moto does
 * not have topics of MSK: for these boto3 checks the parameters by AWS's model, makes the request, and gets a made response.
 */
const CALL = `
import json, sys, boto3
from urllib.parse import unquote
from botocore import xform_name
from botocore.awsrequest import AWSResponse
def create_topic(params, **_):
    topic = json.loads(params['body'])
    cluster = unquote(params['url_path'].split('/v1/clusters/', 1)[1].rsplit('/topics', 1)[0])
    arn = cluster.replace(':cluster/', ':topic/') + '/' + topic['topicName']
    answer = {'TopicName': topic['topicName'], 'Status': 'CREATING', 'TopicArn': arn, 'Sent': topic}
    return AWSResponse(params['url'], 200, {}, None), answer
answers, clients = [], {}
for api, operation, parameters in json.load(sys.stdin):
    try:
        if api not in clients:
            clients[api] = boto3.client(api, endpoint_url=sys.argv[1], region_name='us-east-1')
            if api == 'kafka':
                clients[api].meta.events.register('before-call.kafka.CreateTopic', create_topic)
        client = clients[api]
        answer = getattr(client, xform_name(operation))(**parameters)
        answers.append(answer)
    except Exception as error:
        answers.append(f'{operation}: {error}')
json.dump(answers, sys.stdout, default=str)
`;

export type AnyCall = [api: Api | 'sqs' | 'sts', operation: string, parameters: object];

/** moto's server, which imitates AWS's APIs on this machine. */
export async function startMoto() {
  const bin = await engines();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const env = {
    ...process.env,
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    MOTO_IAM_LOAD_MANAGED_POLICIES: 'true',
  };
  const server = spawn(join(bin, 'python'), ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)], {
    stdio: 'ignore',
    env,
  });
  const exited = once(server, 'exit');
  while (!(await fetch(`${url}/moto-api/`).catch(() => undefined))?.ok) await sleep(200);
  return {
    url,
    /** Makes the calls one after another. @returns the responses, or the error of a failed call */
    async call(calls: readonly AnyCall[]): Promise<any[]> {
      const python = spawn(join(bin, 'python'), ['-c', CALL, url], {
        stdio: ['pipe', 'pipe', 'inherit'],
        env,
      });
      python.stdin.end(JSON.stringify(calls));
      return JSON.parse(Buffer.concat(await Array.fromAsync(python.stdout)).toString());
    },
    async stop() {
      server.kill();
      await exited;
    },
  };
}

/** A call of a graph in the form of boto3. */
export const forBoto = async ([api, operation, parameters]: [Api, string, object]): Promise<AnyCall> => [
  api,
  operation,
  (await shaped(api, operation, parameters)) as object,
];
