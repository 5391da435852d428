// A third of the unit tests, in one isolate.
import { loadUnitTests } from "./support/load_unit_tests.ts";

await loadUnitTests(0);
