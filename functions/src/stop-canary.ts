import { CANARY_STOPPED_KEY } from '@video-pipeline/frame';
import { createStore, type Store } from '@video-pipeline/storage';

/** The event that CloudWatch sends to a function when an alarm changes; only the fields that are used here. */
interface AlarmEvent {
  time: string;
  alarmData: { alarmName: string; state: { value: string; reason: string } };
}

/** The Lambda behind the alarms of a canary. The first alarm stops the canary until the next canary begins. */
export const createStopCanary =
  (store: Pick<Store, 'put'>) =>
  async ({ time, alarmData: { alarmName, state } }: AlarmEvent): Promise<void> => {
    if (state.value !== 'ALARM') return;
    const body = JSON.stringify({ stopped_at: time, alarm: alarmName, reason: state.reason });
    await store.put({ key: CANARY_STOPPED_KEY, body: `${body}\n`, contentType: 'application/json' });
  };

export const handler = createStopCanary(createStore());
