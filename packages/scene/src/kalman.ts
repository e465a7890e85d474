/**
 * State of one coordinate of a box: position, velocity (per unit of time), variance of the position, covariance of
 * both, variance of the velocity. Positions and sizes have the same unit. All numbers have single precision, so that a
 * state that was packed into 32 bits a number stays the same.
 */
export type Coordinate = [x: number, v: number, xx: number, xv: number, vv: number];

/** Standard deviations relative to the size of the object: Wojke et al., 'DeepSORT', 2017, as ByteTrack uses them. */
const POSITION_NOISE = 1 / 20;
const VELOCITY_NOISE = 1 / 160;

const single = Math.fround;

/** State of a coordinate that is seen for the first time at `z`, with unknown velocity. @param size of the object */
export function initiate(z: number, size: number): Coordinate {
  const [xx, vv] = [(2 * POSITION_NOISE * size) ** 2, (10 * VELOCITY_NOISE * size) ** 2];
  return [single(z), 0, single(xx), 0, single(vv)];
}

/**
 * Moves a coordinate by `dt` at constant velocity, in place. The noise is independent between coordinates. So the
 * eight-dimensional filter of a box splits into four of two dimensions, and no matrix has to be inverted. Kalman, 'A
 * new approach to linear filtering and prediction problems', 1960.
 * @param size of the object
 */
export function predict(state: Coordinate, dt: number, size: number): void {
  const [x, v, xx, xv, vv] = state;
  state[0] = single(x + dt * v);
  state[2] = single(xx + 2 * dt * xv + dt * dt * vv + dt * (POSITION_NOISE * size) ** 2);
  state[3] = single(xv + dt * vv);
  state[4] = single(vv + dt * (VELOCITY_NOISE * size) ** 2);
}

/** Corrects a coordinate by a measurement, in place. @param size of the object */
export function correct(state: Coordinate, z: number, size: number): void {
  const [x, v, xx, xv, vv] = state;
  const total = xx + (POSITION_NOISE * size) ** 2;
  const gain = xx / total;
  const velocityGain = xv / total;
  state[0] = single(x + gain * (z - x));
  state[1] = single(v + velocityGain * (z - x));
  state[2] = single((1 - gain) * xx);
  state[3] = single((1 - gain) * xv);
  state[4] = single(vv - velocityGain * xv);
}
