// Package moving is what the importers of other tools share: how an object of
// theirs is read so that no field of it is dropped in silence, what is told about
// the move, and how Plumb's objects are written. Its sub-packages are the tools.
//
// It is pure: objects in, objects and notes out. It may import the Application API
// and git's rules for URLs, never a cluster or a file. It cannot fail as a whole:
// what cannot be converted is a Note of level Failed, and everything else goes on.
package moving

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	kjson "sigs.k8s.io/json"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// Level says how much a Note matters.
type Level int

// Levels of a Note.
const (
	// Info tells how something is done here; nothing is missing.
	Info Level = iota
	// Lost tells of something that has no counterpart, or is a person's to do.
	Lost
	// Failed tells of an object that could not be converted.
	Failed
)

func (l Level) String() string { return [...]string{"note", "lost", "failed"}[l] }

// Note says what became of fields of an object of the other tool.
type Note struct {
	Level  Level
	Object string   // as in Application argocd/web; empty: all of them
	Fields []string // as in spec.source.helm.parameters[0].name; empty: all of it
	Text   string
}

func (n Note) String() string {
	parts := []string{n.Level.String()}
	for _, part := range []string{n.Object, strings.Join(n.Fields, ", "), n.Text} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// Options are the choices of a move.
type Options struct {
	// Namespace of what is made; empty: that of the object it is made of.
	Namespace string
	// Account becomes spec.serviceAccountName, where the other tool names none.
	Account string
	// Auto keeps the mode of the other tool; without it everything waits for a person.
	Auto bool
	// Repo and Ref are the Git repository of Applications that have only a chart of
	// a Helm repository.
	Repo, Ref string
	// Destination is the cluster whose Applications are made, by its name or URL in
	// Argo CD; empty: the one in which Argo CD runs.
	Destination string
	// Secrets makes Secrets too, with their values.
	Secrets bool
}

// Result is what is made of the objects of another tool.
type Result struct {
	Objects []map[string]any
	Notes   []Note
	// Wanted are objects that were not in the input and say more: ConfigMaps whose
	// values are taken over and, when Secrets are made, those that are copied.
	Wanted []Reference
}

// Reference names an object of the core group.
type Reference struct{ Kind, Namespace, Name string }

// Want adds to Wanted, once.
func (r *Result) Want(kind, namespace, name string) {
	if want := (Reference{kind, namespace, name}); name != "" && !slices.Contains(r.Wanted, want) {
		r.Wanted = append(r.Wanted, want)
	}
}

// Worst is the highest level of the notes.
func (r Result) Worst() Level {
	worst := Info
	for _, n := range r.Notes {
		worst = max(worst, n.Level)
	}
	return worst
}

// kinds in the order in which they are applied.
var order = []string{"Secret", "Application", "ApplicationSet"}

// Sort orders objects as they are applied: Secrets first, then by namespace and name.
func (r *Result) Sort() {
	slices.SortStableFunc(r.Objects, func(a, b map[string]any) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, text(a, "kind")), slices.Index(order, text(b, "kind"))),
			cmp.Compare(text(a, "metadata", "namespace"), text(b, "metadata", "namespace")),
			cmp.Compare(text(a, "metadata", "name"), text(b, "metadata", "name")),
		)
	})
}

// Add adds an Application or ApplicationSet that was made of an object, unless that
// is broken, or another has its name.
func (r *Result) Add(in *Input, object map[string]any) {
	name := Name(object)
	if slices.ContainsFunc(r.Objects, func(o map[string]any) bool { return Name(o) == name }) {
		in.Tell(Failed, "another %s is made already; import them into different namespaces (--to), or rename one", name)
	}
	if !in.Broken() {
		r.Objects = append(r.Objects, object)
	}
}

// Name is how people call an object: kind, namespace and name.
func Name(o map[string]any) string {
	name := text(o, "metadata", "name")
	if ns := text(o, "metadata", "namespace"); ns != "" {
		name = ns + "/" + name
	}
	return strings.TrimSpace(text(o, "kind") + " " + name)
}

func text(o map[string]any, path ...string) string {
	for _, p := range path[:len(path)-1] {
		o, _ = o[p].(map[string]any)
	}
	s, _ := o[path[len(path)-1]].(string)
	return s
}

// Object is an Application or ApplicationSet as it is printed: without status, and
// without what is empty.
func Object(of any) (map[string]any, error) {
	raw, err := json.Marshal(of)
	if err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	out := map[string]any{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &out); err != nil {
		return nil, fmt.Errorf("decode object: %w", err)
	}
	delete(out, "status")
	if meta, is := out["metadata"].(map[string]any); is {
		delete(meta, "creationTimestamp")
	}
	if spec, is := out["spec"].(map[string]any); is {
		DropEmpty(spec)
	}
	return out, nil
}

// DropEmpty removes what an Application's spec always encodes.
func DropEmpty(spec map[string]any) {
	for _, field := range []string{"destination", "sync"} {
		if inner, is := spec[field].(map[string]any); is && len(inner) == 0 {
			delete(spec, field)
		}
	}
}

// NewApplication is an Application of a name, with nothing in it.
func NewApplication(namespace, name string) *v1alpha1.Application {
	a := &v1alpha1.Application{}
	a.APIVersion, a.Kind = v1alpha1.Group+"/"+v1alpha1.Version, v1alpha1.GroupVersionKind.Kind
	a.Namespace, a.Name = namespace, name
	return a
}
