package stack

import (
	"encoding/json"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// ConfigMaps and the others are what tests look at most.
var (
	ConfigMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	Deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	Pods        = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	Services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	Secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	Policies    = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"}
	Namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

// ResourceOf is the resource of an object whose plural is regular, or a policy.
func ResourceOf(u *unstructured.Unstructured) schema.GroupVersionResource {
	plural, _ := meta.UnsafeGuessKindToResource(u.GroupVersionKind())
	return plural
}

// Application returns an Application of a repo's path, for Create. It goes to
// the namespace it is in.
func Application(namespace, name string, repo *gitserver.Repo, path string) *v1alpha1.Application {
	a := &v1alpha1.Application{}
	a.APIVersion, a.Kind = v1alpha1.Group+"/"+v1alpha1.Version, "Application"
	a.Namespace, a.Name = namespace, name
	a.Spec.Source.Repo, a.Spec.Source.Ref, a.Spec.Source.Path = repo.URL(), "main", path
	return a
}

// Create creates an Application.
func (s *Stack) Create(t testing.TB, a *v1alpha1.Application) {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(a)
	must(t, err)
	delete(content, "status")
	_, err = s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(a.Namespace).
		Create(t.Context(), &unstructured.Unstructured{Object: content}, metav1.CreateOptions{})
	must(t, err)
}

// Patch changes an Application by a JSON merge patch.
func (s *Stack) Patch(t testing.TB, key app.Key, patch string) {
	t.Helper()
	_, err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(key.Namespace).
		Patch(t.Context(), key.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	must(t, err)
}

// PatchObject changes any object by a JSON merge patch.
func (s *Stack) PatchObject(t testing.TB, resource schema.GroupVersionResource, namespace, name, patch string) {
	t.Helper()
	_, err := s.Objects.Resource(resource).Namespace(namespace).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	must(t, err)
}

// Get reads an Application; nil when it is gone.
func (s *Stack) Get(t testing.TB, key app.Key) *v1alpha1.Application {
	t.Helper()
	u, err := s.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(key.Namespace).Get(t.Context(), key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	must(t, err)
	raw, err := json.Marshal(u)
	must(t, err)
	a := &v1alpha1.Application{}
	must(t, json.Unmarshal(raw, a))
	return a
}

// Await waits until the status of an Application meets check.
func (s *Stack) Await(t testing.TB, key app.Key, what string, check func(*v1alpha1.Application) error) *v1alpha1.Application {
	t.Helper()
	var a *v1alpha1.Application
	s.Eventually(t, fmt.Sprintf("Application %s: %s", key, what), func() error {
		if a = s.Get(t, key); a == nil {
			return fmt.Errorf("it is gone")
		}
		if err := check(a); err != nil {
			status, _ := json.MarshalIndent(a.Status, "", "  ")
			return fmt.Errorf("%w; status: %s", err, status)
		}
		return nil
	})
	return a
}

// Live waits until a revision is applied and everything is healthy.
func (s *Stack) Live(t testing.TB, key app.Key, revision string) *v1alpha1.Application {
	t.Helper()
	return s.Await(t, key, "live at "+revision, func(a *v1alpha1.Application) error {
		if a.Status.Revision != revision {
			return fmt.Errorf("revision is %q", a.Status.Revision)
		}
		return Ready(a)
	})
}

// Ready is nil when the Ready condition is True.
func Ready(a *v1alpha1.Application) error {
	ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionTrue || a.Status.ObservedGeneration != a.Generation {
		return fmt.Errorf("ready is %+v", ready)
	}
	return nil
}

// Failed waits for a failure with a reason.
func (s *Stack) Failed(t testing.TB, key app.Key, reason string) *v1alpha1.Application {
	t.Helper()
	return s.Await(t, key, "failed with "+reason, func(a *v1alpha1.Application) error {
		ready := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Status != metav1.ConditionFalse || ready.Reason != reason {
			return fmt.Errorf("ready is %+v", ready)
		}
		return nil
	})
}

// Data waits until a ConfigMap has the given data.
func (s *Stack) Data(t testing.TB, namespace, name string, want map[string]string) {
	t.Helper()
	s.Eventually(t, fmt.Sprintf("ConfigMap %s/%s has %v", namespace, name, want), func() error {
		u, err := s.Objects.Resource(ConfigMaps).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		got, _, _ := unstructured.NestedStringMap(u.Object, "data")
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
}

// ConfigMaps of the Application in the namespace, by name.
func (s *Stack) Owned(t testing.TB, key app.Key, namespace string) map[string]map[string]string {
	t.Helper()
	list, err := s.Objects.Resource(ConfigMaps).Namespace(namespace).
		List(t.Context(), metav1.ListOptions{LabelSelector: v1alpha1.OwnerLabel + "=" + v1alpha1.OwnerHash(key)})
	must(t, err)
	owned := map[string]map[string]string{}
	for _, u := range list.Items {
		data, _, _ := unstructured.NestedStringMap(u.Object, "data")
		owned[u.GetName()] = data
	}
	return owned
}

// ConfigMap is the manifest of a ConfigMap with one key.
func ConfigMap(name, value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {value: \"" + value + "\"}\n"
}
