package moving

import (
	"encoding/json"
	"maps"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/git"
	"github.com/plumb-gitops/plumb/pkg/ignore"
)

// Duration reads a duration as the CRD takes it, from 1s to 24h. A number alone is
// seconds.
func (f Field) Duration() *metav1.Duration {
	value := f.Text()
	if value == "" {
		return nil
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		if d, err = time.ParseDuration(value + "s"); err != nil {
			f.Tell(Lost, "is no duration; left out")
			return nil
		}
	}
	if within := min(max(d, time.Second), 24*time.Hour); within != d {
		f.Tell(Lost, "became %s: Plumb takes 1s to 24h", within)
		d = within
	}
	return &metav1.Duration{Duration: d}
}

// Directory reads a path inside a repository.
func (f Field) Directory() string {
	given := f.Text()
	if strings.Contains(given, "{{") {
		return strings.TrimPrefix(given, "./")
	}
	clean := path.Clean(strings.TrimPrefix("./"+strings.TrimLeft(given, "/"), "./"))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		f.Tell(Failed, "leads out of the repository")
		return "."
	}
	if strings.ContainsAny(clean, "\\\x00\n\r\t") {
		f.Tell(Failed, "holds a backslash or a control character")
		return "."
	}
	return clean
}

// Repo reads the URL of a Git repository by the rules of spec.source.repo. What
// holds a template is judged once it is carried out.
func (f Field) Repo() string {
	given := f.Text()
	if strings.Contains(given, "{{") {
		return given
	}
	if _, err := git.ParseURL(given, insecureHost(given)); err != nil {
		f.Tell(Failed, "%s", strings.TrimPrefix(err.Error(), "read repository URL: "))
		return given
	}
	f.plain(given)
	return given
}

// plain tells of a URL that is not encrypted.
func (f Field) plain(url string) {
	if strings.HasPrefix(strings.ToLower(url), "http://") {
		f.Tell(Info, "plain http: name the host in git.insecureHosts of Plumb's configuration")
	}
}

var chartRepo = regexp.MustCompile(`^(https?|oci)://[^@\s\x00-\x1f]+$`)

// ChartRepo reads the URL of a Helm repository or registry, by the rules of
// spec.source.helm.repo.
func (f Field) ChartRepo() string {
	given := strings.TrimSuffix(f.Text(), "/")
	if !chartRepo.MatchString(given) && !strings.Contains(given, "{{") {
		f.Tell(Failed, "must be an https, http or oci URL without credentials")
	}
	f.plain(given)
	return given
}

// insecureHost lets ParseURL judge all of a URL but plain http, which is told apart.
func insecureHost(given string) []string {
	rest, plain := strings.CutPrefix(strings.ToLower(given), "http://")
	if !plain {
		return nil
	}
	host, _, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return []string{strings.Trim(host, "[]")}
}

// Values makes the values of a chart of a map; nil of an empty one.
func Values(values map[string]any) *apiextensionsv1.JSON {
	if len(values) == 0 {
		return nil
	}
	raw, err := json.Marshal(values)
	if err != nil {
		return nil // what came from YAML always encodes
	}
	return &apiextensionsv1.JSON{Raw: raw}
}

// ParseValues reads the values of a chart, written as YAML in a text.
func (f Field) ParseValues() map[string]any {
	values := map[string]any{}
	raw, err := yaml.YAMLToJSON([]byte(f.Text()))
	if err == nil && string(raw) != "null" {
		err = kjson.UnmarshalCaseSensitivePreserveInts(raw, &values)
	}
	if err != nil { // not told: it may quote a value
		f.Tell(Failed, "is no YAML mapping")
		return nil
	}
	return values
}

// Merge puts one map of values over another, as Helm does.
func Merge(under, over map[string]any) map[string]any {
	out := maps.Clone(under)
	if out == nil {
		out = map[string]any{}
	}
	for name, value := range over {
		below, isMap := out[name].(map[string]any)
		if above, is := value.(map[string]any); is && isMap {
			out[name] = Merge(below, above)
		} else {
			out[name] = value
		}
	}
	return out
}

// Label returns a patch that sets labels and annotations on the objects themselves.
// The fields commonLabels and commonAnnotations of kustomize also reach selectors and
// Pod templates, which other tools leave alone.
func Label(labels, annotations map[string]string) v1alpha1.KustomizePatch {
	meta := map[string]any{"name": "any"}
	if len(labels) > 0 {
		meta["labels"] = labels
	}
	if len(annotations) > 0 {
		meta["annotations"] = annotations
	}
	raw, _ := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "any", "metadata": meta}) // maps of texts encode
	return v1alpha1.KustomizePatch{Patch: string(raw), Target: &v1alpha1.KustomizeSelector{Name: ".*"}}
}

// Local refers to an object of the Application's namespace; nil for an empty name.
func Local(name string) *v1alpha1.LocalReference {
	if name == "" {
		return nil
	}
	return &v1alpha1.LocalReference{Name: name}
}

// Ranged says whether a text is a range of versions, and neither one version nor a template.
func Ranged(text string) bool {
	if _, err := semver.NewVersion(text); err == nil || text == "" || strings.Contains(text, "{{") {
		return false
	}
	_, err := semver.NewConstraint(text)
	return err == nil
}

// Tag is the version of a chart as a tag of a registry, or a range over its tags.
func Tag(version string) (ref, versions string) {
	switch {
	case version == "":
		return "", "*"
	case Ranged(version):
		return "", version
	}
	return strings.ReplaceAll(version, "+", "_"), ""
}

// Ignorable asks those who will read a rule of spec.ignore, and holds it to the
// lengths of the CRD.
func Ignorable(rule v1alpha1.IgnoreRule) bool {
	_, err := ignore.Compile([]v1alpha1.IgnoreRule{rule})
	return err == nil && rule.Kind != "" && len(rule.Kind) <= 63 && len(rule.Name) <= 253 && len(rule.Namespace) <= 63 &&
		len(rule.Paths)+len(rule.Expressions) > 0
}
