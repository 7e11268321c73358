// Package object holds what a render gives and a plan compares: Kubernetes
// objects as values, with their identity, origin and digest.
//
// It may import apimachinery and fault. A Set is never changed after NewSet.
package object

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plumb-gitops/plumb/pkg/fault"
)

// ID is the identity of an object in a cluster, whatever its version.
type ID struct {
	Group, Kind, Namespace, Name string
}

// String is the form of the inventory: <group>/<kind>/<namespace>/<name>.
func (id ID) String() string {
	return id.Group + "/" + id.Kind + "/" + id.Namespace + "/" + id.Name
}

// Human is the form of messages: Kind namespace/name.
func (id ID) Human() string {
	if id.Namespace == "" {
		return id.Kind + " " + id.Name
	}
	return id.Kind + " " + id.Namespace + "/" + id.Name
}

// GroupKind returns the group and kind.
func (id ID) GroupKind() schema.GroupKind {
	return schema.GroupKind{Group: id.Group, Kind: id.Kind}
}

// ParseID reads what String writes.
func ParseID(s string) (ID, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 4 || parts[1] == "" || parts[3] == "" {
		return ID{}, fmt.Errorf("parse object id %q: want <group>/<kind>/<namespace>/<name>", s)
	}
	return ID{Group: parts[0], Kind: parts[1], Namespace: parts[2], Name: parts[3]}, nil
}

// IDOf returns the identity of a live or rendered object.
func IDOf(u *unstructured.Unstructured) ID {
	gvk := u.GroupVersionKind()
	return ID{Group: gvk.Group, Kind: gvk.Kind, Namespace: u.GetNamespace(), Name: u.GetName()}
}

// Object is one rendered object and where in the source it stands.
type Object struct {
	File string // path in the source tree; empty when a renderer cannot say
	Line int    // from 1; 0 when a renderer cannot say
	u    *unstructured.Unstructured
	// standing is what the digest is of, where u holds something drawn at random.
	standing *unstructured.Unstructured
}

// New takes u over; the caller no longer changes it.
func New(u *unstructured.Unstructured, file string, line int) Object {
	return Object{File: file, Line: line, u: u}
}

// ID returns the identity.
func (o Object) ID() ID { return IDOf(o.u) }

// GroupVersionKind returns the kind with its version.
func (o Object) GroupVersionKind() schema.GroupVersionKind { return o.u.GroupVersionKind() }

// Place returns where the object stands, for errors.
func (o Object) Place() fault.Place {
	return fault.Place{File: o.File, Line: o.Line, Object: o.ID().Human()}
}

// Annotation returns the value of one annotation, empty when absent.
func (o Object) Annotation(key string) string { return o.u.GetAnnotations()[key] }

// Content returns the object's tree. It is shared: read only.
func (o Object) Content() map[string]any { return o.u.Object }

// Unstructured returns a deep copy that the caller may change.
func (o Object) Unstructured() *unstructured.Unstructured { return o.u.DeepCopy() }

// With returns a changed deep copy; the receiver stays as it is.
func (o Object) With(change func(*unstructured.Unstructured)) Object {
	o.u = o.u.DeepCopy()
	change(o.u)
	if o.standing != nil {
		o.standing = o.standing.DeepCopy()
		change(o.standing)
	}
	return o
}

// Standing returns the object with a digest of content instead of its own: that of
// a render in which nothing is drawn at random, so that a new draw is no change. It
// takes content over.
func (o Object) Standing(content map[string]any) Object {
	o.standing = &unstructured.Unstructured{Object: content}
	return o
}

// JSON returns the canonical form: sorted keys, no blanks.
func (o Object) JSON() ([]byte, error) { return json.Marshal(o.u.Object) }

// Digest is SHA-256 in hex over the canonical JSON, of the standing content if there
// is one.
func (o Object) Digest() (string, error) {
	u := o.u
	if o.standing != nil {
		u = o.standing
	}
	b, err := json.Marshal(u.Object)
	if err != nil {
		return "", fmt.Errorf("encode %s: %w", o.ID().Human(), err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// Set is an ordered set of objects, each identity once.
type Set struct {
	objects []Object
	index   map[ID]int
}

// NewSet refuses two objects of one identity, naming both places.
func NewSet(objects []Object) (Set, error) {
	s := Set{objects: objects, index: make(map[ID]int, len(objects))}
	for i, o := range objects {
		if j, twice := s.index[o.ID()]; twice {
			return Set{}, fault.Refuse(fault.RenderFailed, o.Place(),
				"the same object stands in %s already; remove one of the two", objects[j].Place())
		}
		s.index[o.ID()] = i
	}
	return s, nil
}

// Len returns how many objects the set has.
func (s Set) Len() int { return len(s.objects) }

// All returns the objects in order. The slice is shared: read only.
func (s Set) All() []Object { return s.objects }

// Get finds an object by identity.
func (s Set) Get(id ID) (Object, bool) {
	i, ok := s.index[id]
	if !ok {
		return Object{}, false
	}
	return s.objects[i], true
}

// Map returns the set of the changed objects, in the same order.
func (s Set) Map(change func(Object) (Object, error)) (Set, error) {
	out := make([]Object, 0, len(s.objects))
	for _, o := range s.objects {
		changed, err := change(o)
		if err != nil {
			return Set{}, err
		}
		out = append(out, changed)
	}
	return NewSet(out)
}
