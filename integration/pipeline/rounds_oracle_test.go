package pipeline

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// The oracle says what has to be in the cluster, from the files alone and from what
// docs/policies-per-object.md promises. It shares nothing with render and plan.

// want is one object that has to be in the cluster.
type want struct {
	app  string
	any  []map[string]any // what it may be; more than one where an attempt failed half way
	free bool             // it may be absent, too
	once bool             // its content is that of its creation, and then whatever others made of it
}

func (w want) is(policy string) bool {
	key, value, _ := strings.Cut(policy, ": ")
	annotations, _, _ := unstructured.NestedMap(w.any[0], "metadata", "annotations")
	return annotations[key] == value
}

func (w want) hook() bool {
	annotations, _, _ := unstructured.NestedMap(w.any[0], "metadata", "annotations")
	return annotations["plumb.dev/hook"] != nil
}

// wants are the objects of one Application or of all, by their id.
type wants map[string]want

// read parses the files of an Application.
func read(t *testing.T, dir, name, home string) wants {
	t.Helper()
	found := wants{}
	err := filepath.WalkDir(filepath.Join(dir, name), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "ml") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, document := range strings.Split(string(text), "---\n") {
			o := map[string]any{}
			if err := yaml.Unmarshal([]byte(document), &o); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			id, w := complete(o, name, home)
			if w.is(ignoreText) {
				continue
			}
			w.once, w.free = w.is(onceText), w.hook() && strings.Contains(document, "succeeded")
			found[id] = w
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// complete adds what Plumb and the API server add to a manifest.
func complete(o map[string]any, name, home string) (string, want) {
	u := unstructured.Unstructured{Object: o}
	if u.GetKind() != "ClusterRole" && u.GetNamespace() == "" {
		u.SetNamespace(home)
	}
	if text, _, _ := unstructured.NestedStringMap(o, "stringData"); text != nil {
		data := map[string]any{}
		for k, v := range text {
			data[k] = base64.StdEncoding.EncodeToString([]byte(v))
		}
		delete(o, "stringData")
		o["data"] = data
	}
	id := u.GroupVersionKind().Group + "/" + u.GetKind() + "/" + u.GetNamespace() + "/" + u.GetName()
	return id, want{app: name, any: []map[string]any{o}}
}

// marked is the object with the marks of its Application.
func marked(o map[string]any, key app.Key) map[string]any {
	u := unstructured.Unstructured{Object: maps.Clone(o)}
	metadata, _, _ := unstructured.NestedMap(o, "metadata")
	u.Object["metadata"] = metadata
	annotations, labels := u.GetAnnotations(), u.GetLabels()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.OwnerAnnotation], labels[v1alpha1.OwnerLabel] = key.String(), v1alpha1.OwnerHash(key)
	u.SetAnnotations(annotations)
	u.SetLabels(labels)
	return u.Object
}

// ofControllers are annotations that controllers write beside what Git says.
var ofControllers = []string{"deployment.kubernetes.io/", "pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/", "batch.kubernetes.io/", "plumb.dev/hook-run"}

// whole are the maps that hold nothing but what Git says.
var whole = []string{".data", ".metadata.labels", ".metadata.annotations"}

// differs names the first field that is not as wanted.
func differs(path string, want, live any) string {
	switch want := want.(type) {
	case map[string]any:
		live, _ := live.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(want)) {
			if d := differs(path+"."+key, want[key], live[key]); d != "" {
				return d
			}
		}
		return foreignKey(path, want, live)
	case []any:
		live, _ := live.([]any)
		if len(live) != len(want) {
			return fmt.Sprintf("%s: has %d entries, want %d", path, len(live), len(want))
		}
		for i := range want {
			if d := differs(fmt.Sprintf("%s[%d]", path, i), want[i], live[i]); d != "" {
				return d
			}
		}
		return ""
	}
	if fmt.Sprint(want) != fmt.Sprint(live) {
		return fmt.Sprintf("%s: is %v, want %v", path, live, want)
	}
	return ""
}

func foreignKey(path string, want, live map[string]any) string {
	if !slices.Contains(whole, path) {
		return ""
	}
	for _, key := range slices.Sorted(maps.Keys(live)) {
		known := slices.ContainsFunc(ofControllers, func(p string) bool { return strings.HasPrefix(key, p) })
		if _, is := want[key]; !is && !known {
			return fmt.Sprintf("%s: has %s=%v, which Git does not have", path, key, live[key])
		}
	}
	return ""
}

// live are the objects of the cluster by id.
type live map[string]*unstructured.Unstructured

// look lists every object of the kinds that may be met, in the namespaces of the test.
func look(t *testing.T, s *stack.Stack, namespaces []string) live {
	t.Helper()
	found := live{}
	seen := map[string]bool{}
	for _, k := range append(slices.Clone(kinds), derived...) {
		for _, ns := range namespaces {
			if at := k.gvr().String() + ns; seen[at] {
				continue
			} else {
				seen[at] = true
			}
			if k.shared {
				ns = ""
			}
			list, err := s.Objects.Resource(k.gvr()).Namespace(ns).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range list.Items {
				if k.shared && !strings.Contains(u.GetName(), namespaces[0]) {
					continue
				}
				found[k.gvk.Group+"/"+k.gvk.Kind+"/"+u.GetNamespace()+"/"+u.GetName()] = &u
			}
		}
	}
	return found
}

// derived are kinds that controllers make, for which they copy labels or annotations.
var derived = []kind{
	kindOf("", "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", ""),
	kindOf("", "apps", "v1", "ReplicaSet", "replicasets", ""),
	kindOf("", "apps", "v1", "ControllerRevision", "controllerrevisions", ""),
	kindOf("", "", "v1", "Pod", "pods", ""),
	kindOf("", "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", ""),
}

// copied says whether a controller made it of what stands behind it.
func copied(u *unstructured.Unstructured) bool {
	return len(u.GetOwnerReferences()) > 0
}

// compare says how the cluster is not as wanted. Foreign are uids of what is not
// Plumb's, whatever it bears.
func compare(all wants, there live, keys map[string]app.Key, foreign map[string]string, claims map[string]string) (wrong []string) {
	for _, id := range slices.Sorted(maps.Keys(all)) {
		w, u := all[id], there[id]
		switch {
		case u == nil && w.free:
		case u == nil:
			wrong = append(wrong, id+" of "+w.app+" is not in the cluster")
		case u.GetDeletionTimestamp() != nil:
			wrong = append(wrong, id+" of "+w.app+" is being deleted")
		default:
			if d := w.differs(u, keys[w.app], claims[id]); d != "" {
				wrong = append(wrong, id+" of "+w.app+d)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(there)) {
		u := there[id]
		if _, is := all[id]; is || foreign[string(u.GetUID())] != "" || copied(u) {
			continue
		}
		if u.GetLabels()[v1alpha1.OwnerLabel] != "" || u.GetAnnotations()[v1alpha1.OwnerAnnotation] != "" {
			wrong = append(wrong, id+" is in the cluster, and of "+u.GetAnnotations()[v1alpha1.OwnerAnnotation])
		}
	}
	return wrong
}

// differs is empty when the live object is one of those wanted.
func (w want) differs(u *unstructured.Unstructured, key app.Key, claim string) (d string) {
	for _, o := range w.any {
		o = marked(o, key)
		if claim != "" {
			_ = unstructured.SetNestedField(o, claim, "metadata", "annotations", "plumb.dev/claimed-by")
		}
		if d = differs("", o, u.Object); d == "" {
			return ""
		}
	}
	return d
}

// plant leaves objects of others beside those of the tree, and returns the
// resourceVersion of everything in the namespaces by its uid.
func plantForeign(t *testing.T, s *stack.Stack, namespaces []string, owner app.Key) map[string]string {
	t.Helper()
	nobody := app.Key{Namespace: namespaces[0], Name: "nobody"}
	for _, ns := range namespaces {
		for name, of := range map[string]app.Key{"cm": {}, "cm-01": {}, "cm-0010": {}, "cm-9990": nobody, "cm-9991": owner} {
			u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"of": "somebody"}}}
			u.SetName(name)
			if of != (app.Key{}) {
				u.SetAnnotations(map[string]string{v1alpha1.OwnerAnnotation: of.String()})
				u.SetLabels(map[string]string{v1alpha1.OwnerLabel: v1alpha1.OwnerHash(of)})
			}
			create(t, s, ns, u)
		}
		u := &unstructured.Unstructured{}
		text := deployment("deploy-01", "example.com/other:1", 0)
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		create(t, s, ns, u)
		s.Eventually(t, "the Deployment of somebody else is at rest", func() error {
			u, err := s.Objects.Resource(stack.Deployments).Namespace(ns).Get(t.Context(), "deploy-01", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions"); len(conditions) < 2 {
				return fmt.Errorf("conditions %v", conditions)
			}
			return nil
		})
		s.Eventually(t, "the namespace has what each has", func() error {
			_, err := s.Objects.Resource(stack.ConfigMaps).Namespace(ns).Get(t.Context(), "kube-root-ca.crt", metav1.GetOptions{})
			return err
		})
	}
	foreign := map[string]string{}
	for _, u := range look(t, s, namespaces) {
		foreign[string(u.GetUID())] = u.GetResourceVersion()
	}
	return foreign
}

func create(t *testing.T, s *stack.Stack, ns string, u *unstructured.Unstructured) {
	t.Helper()
	if _, err := s.Objects.Resource(stack.ResourceOf(u)).Namespace(ns).Create(t.Context(), u, metav1.CreateOptions{FieldManager: "another"}); err != nil {
		t.Fatal(err)
	}
}

// touched names what was changed or deleted of others.
func (l live) touched(foreign map[string]string) (wrong []string) {
	seen := map[string]bool{}
	for id, u := range l {
		uid := string(u.GetUID())
		seen[uid] = true
		if version, is := foreign[uid]; is && version != u.GetResourceVersion() {
			wrong = append(wrong, "somebody else's "+id+" was changed")
		}
	}
	for uid := range foreign {
		if !seen[uid] {
			wrong = append(wrong, "somebody else's object with uid "+uid+" is gone")
		}
	}
	return wrong
}
