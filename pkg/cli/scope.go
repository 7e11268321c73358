package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// clusterScoped are the built-in kinds without a namespace, by API group, as of
// Kubernetes 1.37 (API reference, resources of scope Cluster).
var clusterScoped = map[string][]string{
	"":                             {"Namespace", "Node", "PersistentVolume", "ComponentStatus"},
	"admissionregistration.k8s.io": {"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"},
	"apiextensions.k8s.io":         {"CustomResourceDefinition"},
	"apiregistration.k8s.io":       {"APIService"},
	"authentication.k8s.io":        {"TokenReview", "SelfSubjectReview"},
	"authorization.k8s.io":         {"SubjectAccessReview", "SelfSubjectAccessReview", "SelfSubjectRulesReview"},
	"certificates.k8s.io":          {"CertificateSigningRequest", "ClusterTrustBundle"},
	"flowcontrol.apiserver.k8s.io": {"FlowSchema", "PriorityLevelConfiguration"},
	"internal.apiserver.k8s.io":    {"StorageVersion"},
	"networking.k8s.io":            {"IngressClass", "IPAddress", "ServiceCIDR"},
	"node.k8s.io":                  {"RuntimeClass"},
	"rbac.authorization.k8s.io":    {"ClusterRole", "ClusterRoleBinding"},
	"resource.k8s.io":              {"DeviceClass", "ResourceSlice", "DeviceTaintRule"},
	"scheduling.k8s.io":            {"PriorityClass"},
	"storage.k8s.io":               {"StorageClass", "CSIDriver", "CSINode", "VolumeAttachment", "VolumeAttributesClass"},
	"storagemigration.k8s.io":      {"StorageVersionMigration"},
}

// scopes says whether a kind is namespaced, and on notes which it only takes so.
func scopes(notes io.Writer) func(schema.GroupVersionKind) (bool, error) {
	taken := map[schema.GroupKind]bool{}
	return func(gvk schema.GroupVersionKind) (bool, error) {
		kinds := clusterScoped[gvk.Group]
		if slices.Contains(kinds, gvk.Kind) {
			return false, nil
		}
		builtIn := kinds != nil || !strings.Contains(gvk.Group, ".") || strings.HasSuffix(gvk.Group, ".k8s.io")
		if !builtIn && !taken[gvk.GroupKind()] {
			taken[gvk.GroupKind()] = true
			fmt.Fprintf(notes, "plumb: %s of %s is not known here and taken as namespaced\n", cell(gvk.Kind), cell(gvk.Group))
		}
		return true, nil
	}
}
