package flux

import (
	"regexp"
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

// health is a rule of CEL. In Flux the fields of the object are variables; here there
// is one, object.
func health(f moving.Field) v1alpha1.HealthRule {
	out := v1alpha1.HealthRule{
		APIVersion: f.At("apiVersion").Text(), Kind: f.At("kind").Text(),
		Current: qualify(f.At("current").Text()), InProgress: qualify(f.At("inProgress").Text()), Failed: qualify(f.At("failed").Text()),
	}
	if out.APIVersion == "" || out.Kind == "" {
		f.Tell(moving.Failed, "want apiVersion and kind")
	}
	return out
}

// word is a name of CEL or a text in quotes, which is left alone.
var word = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[A-Za-z_][A-Za-z0-9_]*`)

// fields are those of objects of Kubernetes that rules are about.
var fields = []string{"status", "spec", "metadata", "data", "apiVersion", "kind"}

// qualify puts object. before the fields of the object.
func qualify(expression string) string {
	var out strings.Builder
	end := 0
	for _, at := range word.FindAllStringIndex(expression, -1) {
		name, before := expression[at[0]:at[1]], strings.TrimRight(expression[:at[0]], " \t\n?")
		if slices.Contains(fields, name) && !strings.HasSuffix(before, ".") {
			out.WriteString(expression[end:at[0]] + "object." + name)
			end = at[1]
		}
	}
	return out.String() + expression[end:]
}
