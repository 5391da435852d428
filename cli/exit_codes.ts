// What the program's exit code means. Pure.

/** Everything went well. */
export const EXIT_OK = 0;
/** Something failed while running. */
export const EXIT_FAILURE = 1;
/** The command was called wrongly. */
export const EXIT_USAGE = 2;
