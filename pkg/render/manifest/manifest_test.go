package manifest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	sigs "sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

const cm = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"

func TestParse(t *testing.T) {
	cases := map[string]struct {
		file, text string
		want       []string // <place>
	}{
		"one document":                       {text: cm, want: []string{"x.yaml:1: ConfigMap a"}},
		"a stream":                           {text: cm + "---\n" + strings.Replace(cm, "a}", "b}", 1), want: []string{"x.yaml:1: ConfigMap a", "x.yaml:5: ConfigMap b"}},
		"a stream that begins with a marker": {text: "---\n" + cm + "---\n", want: []string{"x.yaml:2: ConfigMap a"}},
		"comments and nothing":               {text: "# a\n---\n# b\n---\n\n---\nnull\n---\n" + cm, want: []string{"x.yaml:9: ConfigMap a"}},
		"directives and end markers":         {text: "%YAML 1.1\n---\n" + cm + "...\n# end\n", want: []string{"x.yaml:3: ConfigMap a"}},
		"two documents behind an end marker": {text: cm + "...\n---\n" + cm, want: []string{"x.yaml:1: ConfigMap a", "x.yaml:6: ConfigMap a"}},
		"a marker within a block":            {text: cm + "data:\n  a: |\n    x\n    ---\n    y\n", want: []string{"x.yaml:1: ConfigMap a"}},
		"carriage returns":                   {text: strings.ReplaceAll(cm+"---\n"+cm, "\n", "\r\n"), want: []string{"x.yaml:1: ConfigMap a", "x.yaml:5: ConfigMap a"}},
		"a byte order mark":                  {text: "\xef\xbb\xbf" + cm, want: []string{"x.yaml:1: ConfigMap a"}},
		"a list": {
			text: "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a}\n-\n  apiVersion: v1\n  kind: Secret\n  metadata: {name: b, namespace: ns}\n",
			want: []string{"x.yaml:4: ConfigMap a", "x.yaml:8: Secret ns/b"},
		},
		"a list in a list": {
			text: "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items:\n  - {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n",
			want: []string{"x.yaml:4: ConfigMap a"},
		},
		"a typed list": {
			text: "apiVersion: apps/v1\nkind: DeploymentList\nitems:\n- metadata: {name: a}\n",
			want: []string{"x.yaml:4: Deployment a"},
		},
		"an empty list":                     {text: "apiVersion: v1\nkind: List\nitems: []\n"},
		"a kind that only sounds like list": {text: "apiVersion: x/v1\nkind: AllowList\nmetadata: {name: a}\nitems: [1]\n", want: []string{"x.yaml:1: AllowList a"}},
		"JSON":                              {file: "x.json", text: "\n{\"apiVersion\": \"v1\",\n\"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"\\ud83d\\ude00\"}}", want: []string{"x.json:2: ConfigMap 😀"}},
		"a stream of JSON":                  {file: "x.json", text: `{"apiVersion":"v1","kind":"A","metadata":{"name":"a"}}` + "\n" + `{"apiVersion":"v1","kind":"B","metadata":{"name":"b"}}`, want: []string{"x.json:1: A a", "x.json:2: B b"}},
		"a list in JSON": {
			file: "x.json", text: "{\"kind\":\"List\",\"apiVersion\":\"v1\",\"metadata\":{\"items\":[1]},\"items\":[\n{\"apiVersion\":\"v1\",\"kind\":\"A\",\"metadata\":{\"name\":\"a\",\"x\":[1]}},\n\n{\"apiVersion\":\"v1\",\"kind\":\"B\",\"metadata\":{\"name\":\"b\"}}]}",
			want: []string{"x.json:2: A a", "x.json:4: B b"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.file == "" {
				c.file = "x.yaml"
			}
			objects, err := (&Parser{}).Parse(c.file, []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range objects {
				got = append(got, o.Place().String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

func bomb(levels int) string {
	text := cm + "data:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i <= levels; i++ {
		ref := fmt.Sprintf("*a%d", i-1)
		text += fmt.Sprintf("  a%d: &a%d [%s]\n", i, i, strings.Repeat(ref+", ", 9)+ref)
	}
	return text
}

func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	cases := map[string]struct {
		file, text, want string
		lenient          bool
	}{
		"text that is not YAML":        {text: cm + "data: {a: b\n", want: "x.yaml:4: parse YAML: did not find expected ',' or '}'"},
		"a later document's line":      {text: cm + "---\n" + cm + "data:\n\ta: b\n", want: "x.yaml:9: parse YAML: found character that cannot start any token"},
		"an unknown anchor, unquoted":  {text: cm + "data: {a: *hunter2}\n", want: "x.yaml:1: parse YAML: unknown anchor … referenced"},
		"a duplicate key":              {text: cm + "data:\n  a: 1\n  b: 2\n  a: 3\n", want: `x.yaml:7: the key "a" stands twice`},
		"a duplicate of another kind":  {text: cm + "data:\n  true: 1\n  yes: 3\n", want: `x.yaml:6: the key "true" stands twice`},
		"a duplicate key in JSON":      {file: "x.json", text: "{\"a\": 1,\n\"a\": 2}", want: `x.json:2: the key "a" stands twice`},
		"a map as key":                 {text: cm + "data: {{a: b}: c}\n", want: "x.yaml:4: a key must be a string"},
		"null as key":                  {text: cm + "data: {~: c}\n", want: "x.yaml:4: a key must be a string; quote it"},
		"text that is not UTF-8":       {text: cm + "data: {a: \"\xff\"}\n", want: "x.yaml:4: the file is not UTF-8"},
		"UTF-16":                       {text: "\xff\xfea\x00", want: "x.yaml:1: the file is not UTF-8"},
		"aliases that multiply":        {text: bomb(8), want: "more than 2000000 values, aliases expanded"},
		"an alias of itself":           {text: cm + "data: &a [*a]\n", want: "nested deeper than 100 levels"},
		"a merge of itself":            {text: cm + "data: &a {<<: *a}\n", want: "nested deeper than 100 levels"},
		"deep nesting":                 {text: cm + "data: " + deep + "\n", want: "x.yaml:4: values are nested deeper than 100 levels"},
		"deep nesting in JSON":         {file: "x.json", text: `{"a":` + deep + `}`, want: "x.json:1: values are nested deeper than 100 levels"},
		"a document of many values":    {text: cm + "data: [" + strings.Repeat("a,", 500_000) + "]\n", want: "x.yaml:1: the document holds more than 400000 values"},
		"a document of many bytes":     {text: cm + "data: " + strings.Repeat("a", 5<<20), want: "x.yaml:1: the document is larger than"},
		"a JSON file of many values":   {file: "x.json", text: "[" + strings.Repeat("1,", 500_000) + "1]", want: "the document holds more than 400000 values"},
		"an unknown tag":               {text: cm + "data: !secret abc\n", want: "x.yaml:4: the tag is not known"},
		"a number that is none":        {text: cm + "data: .nan\n", want: "x.yaml:4: not a finite number"},
		"a value against its tag":      {text: cm + "data: !!int hunter2\n", want: "x.yaml:4: the value does not fit its tag"},
		"a huge number in JSON":        {file: "x.json", text: "{\"a\": 1e999}", want: "x.json:1: the number does not fit"},
		"JSON that ends too early":     {file: "x.json", text: "{\"a\":\n [1, ", want: "x.json:2: parse JSON: the file ends too early"},
		"JSON with a stray comma":      {file: "x.json", text: "{\"a\":\n 1,\n}", want: "x.json:3: parse JSON: invalid character"},
		"a list instead of an object":  {text: "\n- a\n", want: "x.yaml:2: this is not a Kubernetes object: the document is not a map"},
		"a word in JSON":               {file: "x.json", text: "\"a\"", want: "x.json:1: this is not a Kubernetes object"},
		"an object without apiVersion": {text: "kind: A\nmetadata: {name: a}\n", want: "x.yaml:1: apiVersion: this is not a Kubernetes object: it has no apiVersion"},
		"an object without kind":       {text: "# c\napiVersion: v1\nmetadata: {name: a}\n", want: "x.yaml:2: kind: this is not a Kubernetes object: it has no kind"},
		"a kind that is a number":      {text: "apiVersion: v1\nkind: 1\nmetadata: {name: a}\n", want: "it has no kind"},
		"a broken apiVersion":          {text: "apiVersion: a/b/c\nkind: A\nmetadata: {name: a}\n", want: "apiVersion must be <group>/<version>"},
		"an object without metadata":   {text: "apiVersion: v1\nkind: A\n", want: "x.yaml:1: A: metadata: the object has no metadata"},
		"an object without a name":     {text: "apiVersion: v1\nkind: A\nmetadata: {namespace: a}\n", want: "x.yaml:1: A: metadata.name: the object has no name"},
		"a generated name":             {text: "apiVersion: v1\nkind: A\nmetadata: {generateName: a-}\n", want: "metadata.generateName: generated names cannot be tracked"},
		"a name that is a number":      {text: "apiVersion: v1\nkind: A\nmetadata: {name: 1}\n", want: "metadata.name: must be a string without / and %; quote it"},
		"a name that is a path":        {text: "apiVersion: v1\nkind: A\nmetadata: {name: ../b}\n", want: "metadata.name: must be a string without /"},
		"a namespace that is a map":    {text: "apiVersion: v1\nkind: A\nmetadata: {name: a, namespace: {}}\n", want: "metadata.namespace: must be a string"},
		"an annotation that is a bool": {text: "apiVersion: v1\nkind: A\nmetadata: {name: a, annotations: {b: \"x\", c: true}}\n", want: "x.yaml:1: A a: metadata.annotations[c]: the value must be a string; quote it"},
		"labels that are a list":       {text: "apiVersion: v1\nkind: A\nmetadata: {name: a, labels: []}\n", want: "metadata.labels: must be a map of strings"},
		"an item that is no object":    {text: "apiVersion: v1\nkind: List\nitems:\n- a\n", want: "x.yaml:4: items[0]: an item of a List must be an object"},
		"a bad item of a list":         {text: "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: A\n", want: "x.yaml:4: A: metadata"},
		"too many objects":             {text: strings.Repeat("---\n"+cm, 4), want: "more than 3 objects"},
		"lenience ends at syntax":      {text: cm + "data: {", lenient: true, want: "parse YAML"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.file == "" {
				c.file = "x.yaml"
			}
			_, err := (&Parser{MaxObjects: 3, Lenient: c.lenient}).Parse(c.file, []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error is %v, want %q in it", err, c.want)
			}
			if class, _ := fault.ClassOf(err); class != fault.Permanent || fault.ReasonOf(err) != fault.RenderFailed {
				t.Errorf("error is %s %s, want permanent RenderFailed", class, fault.ReasonOf(err))
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q quotes a value", err)
			}
		})
	}
}

func TestLenientTakesTheLastKey(t *testing.T) {
	objects, err := (&Parser{Lenient: true}).Parse("x.json", []byte(cm+"data: {a: 1, a: 2}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"a": int64(2)}, objects[0].Content()["data"]); diff != "" {
		t.Error(diff)
	}
}

// scalars are compared with what kubectl's library makes of them.
var scalars = []string{
	"a", "''", "~", "null", "Null", "", "true", "True", "yes", "Yes", "y", "n", "no", "on", "ON", "off", "'yes'", `"on"`,
	"0", "1", "-1", "+1", "007", "0777", "0o17", "0x1F", "0b11", "1_000", "1.0", "1.5", "-0.0", "1e3", "1e20", "1e400", ".5", "5.",
	"9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616", "1:30", "190:20:30",
	"2024-01-01", "2024-01-01T00:00:00Z", "1.2.3", "0.1.0", "1e", "!!str 1", "!!binary aGk=", "!!float 1", "<<", "=", "- a", "|\n  a\n  b\n", ">-\n  a\n  b\n",
	"'a\n\n  b'", `"\u00e9\n\t"`, "{a: 1, <<: {a: 2, b: 3}}", "{<<: [{a: 1}, {a: 2, b: 2}], c: 1}", "{1: a, true: b, 1.5: c, yes: d}", "[a, , b]", "&x a",
}

func TestScalarsAreThoseOfKubectl(t *testing.T) {
	for _, s := range scalars {
		t.Run(s, func(t *testing.T) { compare(t, []byte(cm+"data: "+s+"\n")) })
	}
}

// compare lets either refuse more than the other; where both read, they read the same.
func compare(t *testing.T, text []byte) {
	t.Helper()
	objects, err := (&Parser{}).Parse("x.yaml", text)
	want, theirs := sigs.YAMLToJSONStrict(text)
	if err != nil || theirs != nil || len(objects) != 1 {
		return
	}
	got, err := objects[0].JSON()
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if json.Unmarshal(want, &a) != nil || json.Unmarshal(got, &b) != nil {
		t.Fatalf("not JSON: %s", got)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("kubectl (-) and Plumb (+) read differently:\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range scalars {
		f.Add([]byte(cm + "data: " + s + "\n"))
	}
	f.Add([]byte(bomb(8)))
	f.Add([]byte("---\n%YAML 1.1\n---\n" + cm + "...\n---\n- a\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, file := range []string{"x.yaml", "x.json"} {
			objects, err := (&Parser{MaxObjects: 100}).Parse(file, text)
			if class, _ := fault.ClassOf(err); err != nil && class != fault.Permanent {
				t.Errorf("error is %s, want permanent: %v", class, err)
			}
			for _, o := range objects {
				if o.ID().Kind == "" || o.ID().Name == "" || o.Line < 1 {
					t.Errorf("object %s at line %d", o.ID(), o.Line)
				}
				if _, err := o.Digest(); err != nil {
					t.Error(err)
				}
			}
		}
		if strings.Count(string(text), "---") == 0 {
			compare(t, text)
		}
	})
}

func TestMask(t *testing.T) {
	cases := map[string]struct {
		message string
		values  []string
		want    string
	}{
		"a long value goes":              {"got hunter2 here", []string{"hunter2"}, "got [value] here"},
		"a short one stays a word":       {"the web is web", []string{"web"}, "the web is web"},
		"a short one goes when quoted":   {`got "12" and '12'`, []string{"12"}, "got [value] and [value]"},
		"one that Go quotes goes":        {fmt.Sprintf("got %q here", `hunter"2\`), []string{`hunter"2\`}, `got "[value]" here`},
		"one in JSON goes":               {`got {"k":"hunter\u003c2"}`, []string{"hunter<2"}, `got {"k":"[value]"}`},
		"one in a URL goes":              {"got ?q=hunter%2F2", []string{"hunter/2"}, "got ?q=[value]"},
		"one in Base64 goes":             {"got " + base64.StdEncoding.EncodeToString([]byte("hunter2")), []string{"hunter2"}, "got [value]g=="},
		"one amid Base64 goes":           {"got " + base64.StdEncoding.EncodeToString([]byte("a:hunter2:b")), []string{"hunter2"}, "got YTp[value]OmI="},
		"one amid Base64, moved, goes":   {"got " + base64.StdEncoding.EncodeToString([]byte("x:y:hunter2:b")), []string{"hunter2"}, "got eDp5Om[value]I6Yg=="},
		"the longer of two goes first":   {"got hunter2hunter2", []string{"hunter2", "hunter2hunter2"}, "got [value]"},
		"a message within bounds is cut": {strings.Repeat("a", 5000), nil, strings.Repeat("a", 1024) + " … " + strings.Repeat("a", 1024)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Mask(c.message, c.values)); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}
