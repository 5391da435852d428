// The values of the chart as its schema names them. Pure.

/** A schema, as far as it is read. */
export interface ValuesSchema {
  readonly properties?: Readonly<Record<string, ValuesSchema>>;
}

/** Dotted names of the values at the ends of the schema. */
export function valueNames(schema: ValuesSchema, path = ""): readonly string[] {
  return Object.entries(schema.properties ?? {}).filter(([name]) => name !== "global").flatMap(([name, inner]) => {
    const full = path === "" ? name : `${path}.${name}`;
    const below = valueNames(inner, full);
    return below.length === 0 ? [full] : below;
  });
}
