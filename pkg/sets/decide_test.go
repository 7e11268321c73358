package sets

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/generate"
)

func testSet() *v1alpha1.ApplicationSet {
	set := &v1alpha1.ApplicationSet{}
	set.Namespace, set.Name, set.UID = "team-a", "set", "set-uid"
	return set
}

const plainSpec = "source: {repo: 'https://a/b', ref: main}"

func application(t *testing.T, name, spec string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	text := "apiVersion: plumb.dev/v1alpha1\nkind: Application\nmetadata: {name: " + name + ", namespace: team-a, labels: {l: " + name + "}}\nspec:\n  " +
		strings.ReplaceAll(spec, "\n", "\n  ")
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func generated(t *testing.T, names ...string) []generate.Application {
	t.Helper()
	var all []generate.Application
	for _, name := range names {
		all = append(all, generate.Application{Object: application(t, name, plainSpec)})
	}
	return all
}

// live is what the cluster has once the set applied it.
func live(t *testing.T, name, spec string) *v1alpha1.Application {
	t.Helper()
	desired, err := owned(testSet(), application(t, name, spec))
	if err != nil {
		t.Fatal(err)
	}
	a := &v1alpha1.Application{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(desired.Object, a); err != nil {
		t.Fatal(err)
	}
	a.UID = types.UID(name + "-uid")
	return a
}

func (d decision) String() string {
	var lines []string
	for _, u := range d.create {
		lines = append(lines, "create "+u.GetName())
	}
	for _, u := range d.update {
		lines = append(lines, "update "+u.live.Name)
	}
	for _, name := range d.same {
		lines = append(lines, "same "+name)
	}
	for _, a := range d.doomed {
		word := "delete "
		if d.keep {
			word = "keep "
		} else if d.held != "" {
			word = "hold "
		}
		lines = append(lines, word+a.Name)
	}
	for name := range d.failed {
		lines = append(lines, "fail "+name)
	}
	return strings.Join(lines, ", ")
}

func TestDecide(t *testing.T) {
	foreign := func(a *v1alpha1.Application) { a.OwnerReferences = nil }
	ofAnother := func(a *v1alpha1.Application) { a.OwnerReferences[0].UID = "another" }
	notController := func(a *v1alpha1.Application) { a.OwnerReferences[0].Controller = nil }
	changed := func(a *v1alpha1.Application) { a.Spec.Source.Ref = "other" }
	goingAway := func(a *v1alpha1.Application) { now := metav1.Now(); a.DeletionTimestamp = &now }
	cases := map[string]struct {
		generated []string
		live      []string
		change    map[string]func(*v1alpha1.Application)
		set       func(*v1alpha1.ApplicationSet)
		want      string
	}{
		"new ones are created":           {generated: []string{"a", "b"}, want: "create a, create b"},
		"what is as it should stays":     {generated: []string{"a"}, live: []string{"a"}, want: "same a"},
		"what was changed is set back":   {generated: []string{"a"}, live: []string{"a"}, change: each("a", changed), want: "update a"},
		"what is no longer there goes":   {generated: []string{"a", "b"}, live: []string{"a", "b", "c"}, want: "same a, same b, delete c"},
		"a foreign one fails":            {generated: []string{"a"}, live: []string{"a"}, change: each("a", foreign), want: "fail a"},
		"one of another set fails":       {generated: []string{"a"}, live: []string{"a"}, change: each("a", ofAnother), want: "fail a"},
		"one that it merely owns fails":  {generated: []string{"a"}, live: []string{"a"}, change: each("a", notController), want: "fail a"},
		"a foreign one never goes":       {generated: []string{"a"}, live: []string{"a", "b"}, change: each("b", foreign), want: "same a"},
		"one that is going fails":        {generated: []string{"a"}, live: []string{"a"}, change: each("a", goingAway), want: "fail a"},
		"one that goes already":          {generated: []string{"a"}, live: []string{"a", "b"}, change: each("b", goingAway), want: "same a"},
		"half may go":                    {generated: []string{"a", "b", "c"}, live: []string{"a", "b", "c", "d", "e", "f"}, want: "same a, same b, same c, delete d, delete e, delete f"},
		"more than half is held":         {generated: []string{"a", "b"}, live: []string{"a", "b", "d", "e", "f"}, want: "same a, same b, hold d, hold e, hold f"},
		"two may always go":              {generated: []string{"a"}, live: []string{"a", "b", "c"}, want: "same a, delete b, delete c"},
		"unless nothing is left":         {live: []string{"a", "b"}, want: "hold a, hold b"},
		"nor the only one":               {live: []string{"a"}, want: "hold a"},
		"what is held lets others on":    {generated: []string{"new"}, live: []string{"a", "b", "c"}, want: "create new, hold a, hold b, hold c"},
		"those that go do not count":     {generated: []string{"a", "b"}, live: []string{"a", "b", "c", "d", "e", "f"}, change: each("f", goingAway), want: "same a, same b, hold c, hold d, hold e"},
		"prune false keeps":              {live: []string{"a", "b", "c"}, set: func(s *v1alpha1.ApplicationSet) { s.Spec.Sync.Prune = new(bool) }, want: "keep a, keep b, keep c"},
		"a count allows as many":         {generated: []string{"a"}, live: []string{"a", "b", "c", "d"}, set: limit("3"), want: "same a, delete b, delete c, delete d"},
		"and no more":                    {generated: []string{"a"}, live: []string{"a", "b", "c", "d", "e"}, set: limit("3"), want: "same a, hold b, hold c, hold d, hold e"},
		"all may go when 100% may":       {generated: []string{"new"}, live: []string{"a", "b", "c"}, set: limit("100%"), want: "create new, delete a, delete b, delete c"},
		"but not for nothing":            {live: []string{"a", "b", "c"}, set: limit("100%"), want: "hold a, hold b, hold c"},
		"a confirmed deletion goes":      {live: []string{"a", "b", "c"}, set: confirm("a", "b", "c"), want: "delete a, delete b, delete c"},
		"a confirmation is of one plan":  {live: []string{"a", "b", "c"}, set: confirm("a", "b"), want: "hold a, hold b, hold c"},
		"nothing generated, nothing had": {want: ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			set, have := testSet(), map[string]*v1alpha1.Application{}
			if c.set != nil {
				c.set(set)
			}
			for _, n := range c.live {
				have[n] = live(t, n, plainSpec)
				if change := c.change[n]; change != nil {
					change(have[n])
				}
			}
			d, err := decide(set, generated(t, c.generated...), have)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, d.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func each(name string, change func(*v1alpha1.Application)) map[string]func(*v1alpha1.Application) {
	return map[string]func(*v1alpha1.Application){name: change}
}

func limit(text string) func(*v1alpha1.ApplicationSet) {
	return func(s *v1alpha1.ApplicationSet) { s.Spec.Sync.PruneLimit = text }
}

func confirm(names ...string) func(*v1alpha1.ApplicationSet) {
	return func(s *v1alpha1.ApplicationSet) {
		var doomed []*v1alpha1.Application
		for _, n := range names {
			a := &v1alpha1.Application{}
			a.Name, a.UID = n, types.UID(n+"-uid")
			doomed = append(doomed, a)
		}
		s.Annotations = map[string]string{v1alpha1.ConfirmPruneAnnotation: digestOf(doomed)}
	}
}

func TestBadLimits(t *testing.T) {
	for _, text := range []string{"101%", "-1", "x", "%", "99999999999"} {
		set := testSet()
		set.Spec.Sync.PruneLimit = text
		if d, err := decide(set, nil, map[string]*v1alpha1.Application{"a": live(t, "a", plainSpec)}); err == nil {
			t.Errorf("%s allows %s", text, d)
		}
	}
}

// What the API's types write another way is the same; what people added is theirs.
func TestInSync(t *testing.T) {
	const rich = `source: {repo: 'https://a/b', helm: {values: {a: 1, b: [x, {c: true}], d: 1.5}}}
sync: {interval: 90s, prune: false, retry: {limit: 0}}
suspend: false
destination: {namespace: ""}
ignore: [{kind: Deployment, paths: [/spec/replicas]}]`
	cases := map[string]struct {
		change func(*v1alpha1.Application)
		want   bool
	}{
		"as it was written":            {func(*v1alpha1.Application) {}, true},
		"defaults were filled in":      {func(a *v1alpha1.Application) { a.Spec.Source.Path, a.Spec.Sync.Mode = ".", "auto" }, true},
		"a person added an annotation": {func(a *v1alpha1.Application) { a.Annotations["plumb.dev/sync"] = "1" }, true},
		"a person asks with no field":  {func(a *v1alpha1.Application) { a.Spec.Sync.PruneLimit = "10%" }, true},
		"another value":                {func(a *v1alpha1.Application) { a.Spec.Source.Repo = "https://c/d" }, false},
		"false became true":            {func(a *v1alpha1.Application) { a.Spec.Suspend = true }, false},
		"an empty text became one":     {func(a *v1alpha1.Application) { a.Spec.Destination.Namespace = "x" }, false},
		"another duration":             {func(a *v1alpha1.Application) { a.Spec.Sync.Interval.Duration++ }, false},
		"a list grew":                  {func(a *v1alpha1.Application) { a.Spec.Ignore = append(a.Spec.Ignore, v1alpha1.IgnoreRule{}) }, false},
		"a list is gone":               {func(a *v1alpha1.Application) { a.Spec.Ignore = nil }, false},
		"a value within": {func(a *v1alpha1.Application) {
			a.Spec.Source.Helm.Values.Raw = []byte(`{"a":2,"b":["x",{"c":true}],"d":1.5}`)
		}, false},
		"a helm section is gone":          {func(a *v1alpha1.Application) { a.Spec.Source.Helm = nil }, false},
		"a label is gone":                 {func(a *v1alpha1.Application) { a.Labels = nil }, false},
		"it was applied of another state": {func(a *v1alpha1.Application) { a.Annotations[v1alpha1.SetDigestAnnotation] = "x" }, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			desired, err := owned(testSet(), application(t, "a", rich))
			if err != nil {
				t.Fatal(err)
			}
			a := live(t, "a", rich)
			c.change(a)
			if got := inSync(desired, a); got != c.want {
				t.Errorf("%t", got)
			}
		})
	}
}

func TestMessagesAreBounded(t *testing.T) {
	var many []*v1alpha1.Application
	for i := range 100 {
		a := &v1alpha1.Application{}
		a.Name = fmt.Sprintf("a%02d", i)
		many = append(many, a)
	}
	if got := names(many); !strings.HasSuffix(got, "a09 and 90 more") {
		t.Error(got)
	}
	if got := bounded(strings.Repeat("ü", 3000)); len(got) > maxMessage || !strings.HasSuffix(got, "ü...") {
		t.Errorf("%d bytes, ends with %q", len(got), got[len(got)-5:])
	}
}

func TestTheFieldManagerFits(t *testing.T) {
	set := testSet()
	if got := managerOf(set); got != "plumb-applicationset/set" {
		t.Error(got)
	}
	set.Name = strings.Repeat("x", 253)
	if got := managerOf(set); len(got) > 128 {
		t.Error(got)
	}
}
