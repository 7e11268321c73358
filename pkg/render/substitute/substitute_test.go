package substitute_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/render/manifest"
	"github.com/plumb-gitops/plumb/pkg/render/substitute"
)

var variables = substitute.Variables{
	"text": {Text: "web"}, "_n": {Text: "3"}, "big": {Text: "9007199254740993"}, "neg": {Text: "-2"},
	"half": {Text: "0.5"}, "version": {Text: "1.10"}, "octal": {Text: "007"}, "exp": {Text: "1e3"},
	"yes": {Text: "true"}, "no": {Text: "no"}, "null": {Text: "null"}, "empty": {Text: ""},
	"quoted": {Text: `"5"`}, "q": {Text: `"`}, "again": {Text: "${text} $${text}"},
	"yaml":   {Text: "x\nkind: Secret\n---\n"},
	"secret": {Text: "canary-5ecret", Secret: true},
	"MAX_1":  {Text: "7"}, "slash": {Text: "a/b"},
}

func parse(t testing.TB, text string) []object.Object {
	t.Helper()
	objects, err := (&manifest.Parser{}).Parse("a.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// TestValues puts each text in a field of which Kubernetes does not know that it is text.
func TestValues(t *testing.T) {
	cases := map[string]struct {
		text string
		want any
	}{
		"text alone":                               {"${text}", "web"},
		"text in text":                             {"a-${text}-b-${_n}", "a-web-b-3"},
		"two alone":                                {"${_n}${_n}", int64(33)},
		"a number":                                 {"${_n}", int64(3)},
		"a number as large as 64 bits hold":        {"${big}", int64(9007199254740993)},
		"a number below zero":                      {"${neg}", int64(-2)},
		"a fraction":                               {"${half}", 0.5},
		"a number beside text":                     {"${_n} ", "3 "},
		"a version, which would lose a digit":      {"${version}", "1.10"},
		"an octal number, which would lose zeros":  {"${octal}", "007"},
		"a number in another form":                 {"${exp}", "1e3"},
		"a boolean":                                {"${yes}", true},
		"a boolean of YAML 1.1 only":               {"${no}", "no"},
		"null":                                     {"${null}", "null"},
		"empty":                                    {"${empty}", ""},
		"a number in quotes":                       {"${quoted}", "5"},
		"quotes by variables, as Flux needs them":  {"${q}${_n}${q}", "3"},
		"a default that is not needed":             {"${text:=other}", "web"},
		"a default for an unknown name":            {"${unknown:=other one}", "other one"},
		"a default for an empty value":             {"${empty:-8}", int64(8)},
		"an empty default":                         {"${unknown:-}", ""},
		"a default with a colon and equals signs":  {"${unknown:-http://a:80/?b=c}", "http://a:80/?b=c"},
		"an escape":                                {"$${text}", "${text}"},
		"an escape in text, of anything":           {"echo $${1} $${A//b/c} ${text}", "echo ${1} ${A//b/c} web"},
		"dollars that are none":                    {"$text $(text) $ 5$ {text}", "$text $(text) $ 5$ {text}"},
		"what is put in is not looked at again":    {"${again}", "${text} $${text}"},
		"what is put in cannot become structure":   {"${yaml}", "x\nkind: Secret\n---\n"},
		"a secret":                                 {"p=${secret}", "p=canary-5ecret"},
		"a name of all letters that names may use": {"${MAX_1}", int64(7)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			quoted, err := json.Marshal(c.text)
			if err != nil {
				t.Fatal(err)
			}
			objects := parse(t, "apiVersion: x/v1\nkind: X\nmetadata: {name: a}\nspec: {list: [{v: "+string(quoted)+"}]}\n")
			before, err := objects[0].JSON()
			if err != nil {
				t.Fatal(err)
			}
			out, err := substitute.Apply(objects, variables)
			if err != nil {
				t.Fatal(err)
			}
			got := out[0].Content()["spec"].(map[string]any)["list"].([]any)[0].(map[string]any)["v"]
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
			if after, err := objects[0].JSON(); err != nil || string(before) != string(after) {
				t.Errorf("the object that was given is now %s", after)
			}
			if out[0].File != "a.yaml" || out[0].Line != 1 {
				t.Errorf("place is %s", out[0].Place())
			}
		})
	}
}

func TestFieldsThatAreTextStayText(t *testing.T) {
	objects := parse(t, `
apiVersion: v1
kind: ConfigMap
metadata: {name: "${text}", labels: {a: "${_n}"}, annotations: {a: "${yes}"}}
data: {a: "${_n}"}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {a: "${_n}"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  replicas: ${_n}
  selector: {matchLabels: {a: "${_n}"}}
  template:
    metadata: {labels: {a: "${_n}"}}
    spec:
      nodeSelector: {a: "${yes}"}
      containers:
      - name: c
        command: ["${_n}"]
        args: ["${_n}"]
        ports: [{containerPort: "${_n}"}]
        env: [{name: A, value: "${_n}"}]
---
apiVersion: x/v1
kind: Other
metadata: {name: o}
data: {a: "${_n}"}
`)
	out, err := substitute.Apply(objects, variables)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range out {
		b, err := o.JSON()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b))
	}
	want := []string{
		`{"apiVersion":"v1","data":{"a":"3"},"kind":"ConfigMap","metadata":{"annotations":{"a":"true"},"labels":{"a":"3"},"name":"web"}}`,
		`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"stringData":{"a":"3"}}`,
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":3,"selector":{"matchLabels":{"a":"3"}},` +
			`"template":{"metadata":{"labels":{"a":"3"}},"spec":{"containers":[{"args":["3"],"command":["3"],"env":[{"name":"A","value":"3"}],` +
			`"name":"c","ports":[{"containerPort":3}]}],"nodeSelector":{"a":"true"}}}}}`,
		`{"apiVersion":"x/v1","data":{"a":3},"kind":"Other","metadata":{"name":"o"}}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestMarkedObjectsAreLeftAsTheyAre(t *testing.T) {
	cases := map[string]struct {
		metadata string
		skipped  bool
	}{
		"an annotation":             {"annotations: {plumb.dev/substitute: disabled}", true},
		"a label":                   {"labels: {plumb.dev/substitute: disabled}", true},
		"an annotation of Flux":     {"annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}", true},
		"a label of Flux":           {"labels: {kustomize.toolkit.fluxcd.io/substitute: disabled}", true},
		"another value":             {"annotations: {plumb.dev/substitute: enabled}", false},
		"a mark that is a variable": {`annotations: {plumb.dev/substitute: "${text}"}`, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			out, err := substitute.Apply(parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, "+c.metadata+"}\ndata: {a: '${text}${'}\n"), variables)
			if c.skipped == (err != nil) {
				t.Fatalf("error is %v", err)
			}
			if c.skipped && out[0].Content()["data"].(map[string]any)["a"] != "${text}${" {
				t.Errorf("it was changed: %v", out[0].Content())
			}
		})
	}
}

func TestWhatIsRefused(t *testing.T) {
	cases := map[string]struct {
		spec, want string
	}{
		"an unknown name":          {`{a: [{b: "x${unknown}"}]}`, "a.yaml:1: X a: spec.a[0].b: no variable is called unknown"},
		"no end":                   {`{a: "${text"}`, "spec.a: a ${ has no }"},
		"a name with a digit":      {`{a: "${1}"}`, "spec.a: a ${…} is not of the form"},
		"no name":                  {`{a: "${}"}`, "is not of the form"},
		"blanks":                   {`{a: "${ text }"}`, "is not of the form"},
		"a shell's substitution":   {`{a: "${text//a/b}"}`, "is not of the form"},
		"a shell's other default":  {`{a: "${text-a}"}`, "is not of the form"},
		"a name of two words":      {`{a: "${te-xt}"}`, "is not of the form"},
		"a default with variables": {`{a: "${unknown:=${text}}"}`, "is not of the form"},
		"a variable in a key":      {`{"${text}": 1}`, "variables are replaced in values, not in keys"},
		"a long name":              {`{a: "${` + strings.Repeat("a", 5000) + `}"}`, "no variable is called aaaa"},
		"a name of no object":      {`{}}` + "\n---\n{apiVersion: v1, kind: X, metadata: {name: '${empty}'}", "the object has no name"},
		"a name with a slash":      {`{}}` + "\n---\n{apiVersion: v1, kind: X, metadata: {name: '${slash}'}", "must be a string without /"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			objects := parse(t, "{apiVersion: x/v1, kind: X, metadata: {name: a}, spec: "+c.spec+"}\n")
			_, err := substitute.Apply(objects, variables)
			class, _ := fault.ClassOf(err)
			if err == nil || !strings.Contains(err.Error(), c.want) || class != fault.Permanent || fault.ReasonOf(err) != fault.RenderFailed {
				t.Fatalf("error is %v (%s), want %q in it", err, class, c.want)
			}
			if len(err.Error()) > 600 {
				t.Errorf("error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestGrowthIsBounded(t *testing.T) {
	v := substitute.Variables{"a": {Text: strings.Repeat("canary", 200_000), Secret: true}}
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: '" + strings.Repeat("${a}", 15) + "'}\n"
	_, err := substitute.Apply(parse(t, text), v)
	if err == nil || !strings.Contains(err.Error(), "add more than 16777216 bytes") || strings.Contains(err.Error(), "canary") {
		t.Errorf("error is %.300v", err)
	}
}

func TestMerge(t *testing.T) {
	got := substitute.Merge(
		map[string]string{"a": "vars"},
		substitute.Layer{Data: map[string]string{"a": "1", "b": "1", "c": "1", "no.name": "x"}},
		substitute.Layer{Data: map[string]string{"b": "2", "c": "2"}, Secret: true},
		substitute.Layer{Data: map[string]string{"c": "3"}},
	)
	want := substitute.Variables{"a": {Text: "vars"}, "b": {Text: "2", Secret: true}, "c": {Text: "3"}}
	if diff := cmp.Diff(map[string]substitute.Value(want), map[string]substitute.Value(got), cmp.Comparer(func(a, b substitute.Value) bool { return a == b })); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	_, err := substitute.Apply(nil, substitute.Merge(map[string]string{"a.b": "canary"}))
	if err == nil || !strings.Contains(err.Error(), "spec.source.substitute.vars[a.b]: a name has letters") || strings.Contains(err.Error(), "canary") {
		t.Errorf("error is %v", err)
	}
}

func TestSecretValuesDoNotShow(t *testing.T) {
	v := substitute.Merge(map[string]string{"open": "shown"}, substitute.Layer{Data: map[string]string{"s": "canary-5ecret"}, Secret: true})
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%v %+v %#v %s %q %s", v, v, v, v, v, encoded)
	if strings.Contains(text, "canary") || !strings.Contains(text, "shown") {
		t.Errorf("text is %s", text)
	}
}

func FuzzApply(f *testing.F) {
	for _, s := range []string{"${a}", "$${a}", "${a:=b}", "${", "}${a", "$$$${a}${b:-c}"} {
		f.Add(s, "1")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		content := map[string]any{"apiVersion": "v1", "kind": "X", "metadata": map[string]any{"name": "a"}, "spec": text}
		o, err := manifest.Of(content, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		out, err := substitute.Apply([]object.Object{o}, substitute.Variables{"a": {Text: value, Secret: true}})
		if err != nil {
			return
		}
		if !strings.Contains(text, "${") && out[0].Content()["spec"] != text {
			t.Errorf("%q became %v", text, out[0].Content()["spec"])
		}
	})
}
