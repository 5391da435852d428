// What each benchmark gets: how thorough to be, the program under test, and where figures go.
import type { Figure } from "./report.ts";

/** The run. */
export interface BenchContext {
  /** Few repetitions: minutes less, rough figures. */
  readonly quick: boolean;
  /** Path of the binary. */
  readonly program: string;
  print(line: string): void;
  table(headers: readonly string[], rows: readonly (readonly string[])[]): void;
  figures(figures: readonly Figure[]): void;
}

/** Measures one thing and prints it. */
export type Bench = (context: BenchContext) => Promise<void>;
