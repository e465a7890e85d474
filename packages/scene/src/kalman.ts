/**
 * One coordinate of a box and how fast it changes: position (px), velocity (px per unit of time), then the variance
 * of the position, the covariance of both, and the variance of the velocity. A tuple, so that a state stays small as JSON.
 */
export type Coordinate = [x: number, v: number, xx: number, xv: number, vv: number];

/** Standard deviations relative to the size of the object: Wojke et al., 'DeepSORT', 2017, as ByteTrack uses them. */
const POSITION_NOISE = 1 / 20;
const VELOCITY_NOISE = 1 / 160;

/** A coordinate seen for the first time at `z`; nothing is known of its velocity. @param size of the object, px */
export function initiate(z: number, size: number): Coordinate {
  return [z, 0, (2 * POSITION_NOISE * size) ** 2, 0, (10 * VELOCITY_NOISE * size) ** 2];
}

/**
 * Moves a coordinate by `dt` at constant velocity, in place. As the noise is independent between coordinates, the
 * eight-dimensional filter of a box falls apart into four of two dimensions, with no matrix left to invert.
 * Kalman, 'A new approach to linear filtering and prediction problems', 1960.
 * @param size of the object, px
 */
export function predict(state: Coordinate, dt: number, size: number): void {
  const [, v, , xv, vv] = state;
  state[0] += dt * v;
  state[2] += 2 * dt * xv + dt * dt * vv + dt * (POSITION_NOISE * size) ** 2;
  state[3] += dt * vv;
  state[4] += dt * (VELOCITY_NOISE * size) ** 2;
}

/** Corrects a coordinate by what was measured, in place. @param size of the object, px */
export function correct(state: Coordinate, z: number, size: number): void {
  const [x, , xx, xv] = state;
  const total = xx + (POSITION_NOISE * size) ** 2;
  const gain = xx / total;
  const velocityGain = xv / total;
  state[0] += gain * (z - x);
  state[1] += velocityGain * (z - x);
  state[2] = (1 - gain) * xx;
  state[3] = (1 - gain) * xv;
  state[4] -= velocityGain * xv;
}
