// Variables of packaged manifests: `%{NAME}%` as in K3s (`pkg/deploy/controller.go`). Files that users write are never
// touched. Pure.

const VARIABLE_REGEXP = /%\{([A-Z][A-Z0-9_]*)\}%/g;

/** `text` with every variable that `variables` names put in; others, such as `%{KUBERNETES_API}%`, stay. */
export function renderTemplate(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replaceAll(VARIABLE_REGEXP, (whole, name: string) => {
    return Object.hasOwn(variables, name) ? variables[name] ?? whole : whole;
  });
}
