package apply_test

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/plumb-gitops/plumb/pkg/cluster"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
)

// memory keeps objects as the API server does as far as uid, resourceVersion,
// preconditions, managed fields and finalizers go. It replaces what an apply
// sends as a whole, which is the one thing it simplifies.
type memory struct {
	mu      sync.Mutex
	objects map[object.ID]*unstructured.Unstructured
	last    int // resource version
	calls   []string
	writes  int
	made    map[types.UID]object.ID // what apply created

	// before is called with each request, outside the lock, and may refuse it or
	// change the objects; nil does neither.
	before func(call string, id object.ID) error
}

func newMemory() *memory {
	return &memory{objects: map[object.ID]*unstructured.Unstructured{}, made: map[types.UID]object.ID{}}
}

func (m *memory) enter(call string, id object.ID) error {
	m.mu.Lock()
	m.calls = append(m.calls, call+" "+id.Human())
	before := m.before
	m.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(call, id)
}

func (m *memory) Get(_ context.Context, id object.ID, _ string) (*unstructured.Unstructured, error) {
	if err := m.enter("get", id); err != nil {
		return nil, err
	}
	return m.read(id), nil
}

func (m *memory) read(id object.ID) *unstructured.Unstructured {
	m.mu.Lock()
	defer m.mu.Unlock()
	if live := m.objects[id]; live != nil {
		return live.DeepCopy()
	}
	return nil
}

func (m *memory) Apply(_ context.Context, o object.Object, options cluster.ApplyOptions) (cluster.Applied, error) {
	id := o.ID()
	if err := m.enter("apply", id); err != nil {
		return cluster.Applied{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	old := m.objects[id]
	if options.UID != "" && (old == nil || old.GetUID() != options.UID) {
		return cluster.Applied{}, fault.Retry("", "apply %s: %w", id.Human(), cluster.ErrReplaced)
	}
	u := o.Unstructured()
	u.SetUID(types.UID("uid-" + strconv.Itoa(m.last)))
	if old != nil {
		u.SetUID(old.GetUID())
		u.SetFinalizers(old.GetFinalizers())
		u.SetDeletionTimestamp(old.GetDeletionTimestamp())
	} else {
		m.made[u.GetUID()] = id
	}
	u.SetManagedFields(fieldsOf(o))
	return cluster.Applied{Unstructured: m.store(u)}, nil
}

func (m *memory) Delete(_ context.Context, id object.ID, _ string, options cluster.DeleteOptions) error {
	if err := m.enter("delete", id); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	live := m.objects[id]
	switch {
	case live == nil:
		return nil
	case live.GetUID() != options.UID || live.GetResourceVersion() != options.ResourceVersion:
		return fault.Retry("", "delete %s: %w", id.Human(), cluster.ErrChanged)
	case len(live.GetFinalizers()) > 0:
		now := metav1.Now()
		u := live.DeepCopy()
		u.SetDeletionTimestamp(&now)
		m.store(u)
	default:
		delete(m.objects, id)
	}
	return nil
}

// MergePatch changes annotations and labels, which is all that is asked of it.
func (m *memory) MergePatch(_ context.Context, id object.ID, _ string, patch, _ any) error {
	if err := m.enter("patch", id); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	live := m.objects[id]
	change := patch.(map[string]any)["metadata"].(map[string]any)
	if live == nil || live.GetResourceVersion() != change["resourceVersion"] {
		return fault.Retry("", "patch %s: %w", id.Human(), cluster.ErrChanged)
	}
	u := live.DeepCopy()
	for field, values := range change {
		entries, _ := values.(map[string]any)
		for key, value := range entries {
			if value == nil {
				unstructured.RemoveNestedField(u.Object, "metadata", field, key)
			} else if err := unstructured.SetNestedField(u.Object, value, "metadata", field, key); err != nil {
				return err
			}
		}
	}
	m.store(u)
	return nil
}

// put stores an object as somebody else.
func (m *memory) put(u *unstructured.Unstructured) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store(u.DeepCopy())
}

func (m *memory) remove(id object.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, id)
}

func (m *memory) store(u *unstructured.Unstructured) *unstructured.Unstructured {
	m.last++
	u.SetResourceVersion(strconv.Itoa(m.last))
	m.objects[object.IDOf(u)] = u
	return u.DeepCopy()
}

func (m *memory) all() map[object.ID]*unstructured.Unstructured {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.objects)
}

// fieldsOf is what an apply makes Plumb own: here the values as well, so that an
// edit of one moves the hash as the loss of the field does in a real cluster.
func fieldsOf(o object.Object) []metav1.ManagedFieldsEntry {
	b, err := json.Marshal(map[string]any{"f:data": map[string]any{"f:" + fmt.Sprint(o.Content()["data"]): map[string]any{}}})
	if err != nil {
		panic(err)
	}
	return []metav1.ManagedFieldsEntry{{
		Manager: "plumb", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1",
		FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: b},
	}}
}
