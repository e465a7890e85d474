/**
 * One coordinate of a box and how fast it changes: position, velocity (a unit of time), then the variance of the
 * position, the covariance of both, and the variance of the velocity. Positions and sizes share one unit, whichever it
 * is. All are kept in single precision, so that a state that was packed into 32 bits a number is the same one.
 */
export type Coordinate = [x: number, v: number, xx: number, xv: number, vv: number];

/** Standard deviations relative to the size of the object: Wojke et al., 'DeepSORT', 2017, as ByteTrack uses them. */
const POSITION_NOISE = 1 / 20;
const VELOCITY_NOISE = 1 / 160;

const single = Math.fround;

/** A coordinate seen for the first time at `z`; nothing is known of its velocity. @param size of the object */
export function initiate(z: number, size: number): Coordinate {
  return [
    single(z),
    0,
    single((2 * POSITION_NOISE * size) ** 2),
    0,
    single((10 * VELOCITY_NOISE * size) ** 2),
  ];
}

/**
 * Moves a coordinate by `dt` at constant velocity, in place. As the noise is independent between coordinates, the
 * eight-dimensional filter of a box falls apart into four of two dimensions, with no matrix left to invert.
 * Kalman, 'A new approach to linear filtering and prediction problems', 1960.
 * @param size of the object
 */
export function predict(state: Coordinate, dt: number, size: number): void {
  const [x, v, xx, xv, vv] = state;
  state[0] = single(x + dt * v);
  state[2] = single(xx + 2 * dt * xv + dt * dt * vv + dt * (POSITION_NOISE * size) ** 2);
  state[3] = single(xv + dt * vv);
  state[4] = single(vv + dt * (VELOCITY_NOISE * size) ** 2);
}

/** Corrects a coordinate by what was measured, in place. @param size of the object */
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
