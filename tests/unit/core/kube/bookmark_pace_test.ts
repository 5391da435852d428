import assert from "node:assert/strict";
import { BookmarkPace } from "../../../../core/kube/bookmark_pace.ts";

const TABLE = [
  { name: "no bookmark", given: [], want: 600_000 },
  { name: "one bookmark", given: [60_000], want: 600_000 },
  { name: "a bookmark each minute", given: [60_000, 121_000], want: 200_000 },
  { name: "two right after each other", given: [1000, 1500], want: 600_000 },
  { name: "rare bookmarks", given: [1000, 300_000, 590_000], want: 600_000 },
];

for (const { name, given, want } of TABLE) {
  Deno.test(`BookmarkPace.silenceMs with ${name}`, () => {
    const pace = new BookmarkPace(600_000);
    for (const nowMs of given) pace.note(nowMs);
    assert.equal(pace.silenceMs, want);
  });
}

Deno.test("BookmarkPace.silenceMs is never longer than without bookmarks", () => {
  const pace = new BookmarkPace(90_000);
  for (const nowMs of [0, 60_000]) pace.note(nowMs);
  assert.equal(pace.silenceMs, 90_000);
});
