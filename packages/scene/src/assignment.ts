/**
 * Pairs rows with columns at the least sum of costs. A row or a column may stay alone at the cost of `limit`: so no
 * pair costs more than `limit`. Shortest augmenting paths, O(rows^2 * columns): Jonker and Volgenant, 'A shortest
 * augmenting path algorithm for dense and sparse linear assignment problems', 1987, in the rectangular form of Crouse,
 * 'On implementing 2D rectangular assignment algorithms', 2016.
 * @param costs row by row, `rows * columns` numbers, none NaN
 * @returns the column of each row, -1 if it has none
 */
export function assign(costs: Float64Array, rows: number, columns: number, limit: number): Int32Array {
  if (rows > columns) return invert(assign(transpose(costs, rows, columns), columns, rows, limit), rows);
  // Beyond the limit, all pairs cost the same: the least sum then contains as few of them as possible.
  const capped = costs.map((cost) => Math.min(cost, limit + 1e-4));
  const columnOf = solve(capped, rows, columns);
  return columnOf.map((column, row) => ((costs[row * columns + column] ?? Infinity) <= limit ? column : -1));
}

/** A complete assignment, for `rows <= columns`. */
function solve(costs: Float64Array, rows: number, columns: number): Int32Array {
  const columnOf = new Int32Array(rows).fill(-1);
  const rowOf = new Int32Array(columns).fill(-1);
  const rowPrice = new Float64Array(rows);
  const columnPrice = new Float64Array(columns);
  const pathCost = new Float64Array(columns);
  const previousRow = new Int32Array(columns);
  const done = new Uint8Array(columns);

  for (let start = 0; start < rows; start++) {
    pathCost.fill(Infinity);
    done.fill(0);
    let row = start;
    let sink = -1;
    let reached = 0;
    while (sink < 0) {
      let nearest = -1;
      let least = Infinity;
      for (let column = 0; column < columns; column++) {
        if (done[column]) continue;
        const cost =
          reached + num(costs, row * columns + column) - num(rowPrice, row) - num(columnPrice, column);
        if (cost < num(pathCost, column)) {
          pathCost[column] = cost;
          previousRow[column] = row;
        }
        const path = num(pathCost, column);
        // Among equal costs, a free column ends the search.
        if (path < least || (path === least && num(rowOf, column) < 0 && num(rowOf, nearest) >= 0)) {
          least = path;
          nearest = column;
        }
      }
      reached = least;
      done[nearest] = 1;
      if (num(rowOf, nearest) < 0) sink = nearest;
      else row = num(rowOf, nearest);
    }
    // Reduced costs stay non-negative, and those of assigned pairs zero.
    rowPrice[start] = num(rowPrice, start) + reached;
    for (let column = 0; column < columns; column++) {
      if (!done[column]) continue;
      const slack = reached - num(pathCost, column);
      columnPrice[column] = num(columnPrice, column) - slack;
      const paired = num(rowOf, column);
      if (paired >= 0) rowPrice[paired] = num(rowPrice, paired) + slack;
    }
    flip(start, sink, previousRow, rowOf, columnOf);
  }
  return columnOf;
}

/** Flips the path that was found: each row on it gets the column by which it was reached. */
function flip(
  start: number,
  sink: number,
  before: Int32Array,
  rowOf: Int32Array,
  columnOf: Int32Array,
): void {
  for (let [row, column] = [-1, sink]; row !== start; ) {
    row = num(before, column);
    rowOf[column] = row;
    [columnOf[row], column] = [column, num(columnOf, row)];
  }
}

function num(numbers: Float64Array | Int32Array, index: number): number {
  return numbers[index] as number;
}

function transpose(costs: Float64Array, rows: number, columns: number): Float64Array {
  return costs.map((_, index) => num(costs, (index % rows) * columns + Math.floor(index / rows)));
}

function invert(rowOf: Int32Array, rows: number): Int32Array {
  const columnOf = new Int32Array(rows).fill(-1);
  for (const [column, row] of rowOf.entries()) if (row >= 0) columnOf[row] = column;
  return columnOf;
}
