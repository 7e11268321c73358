package source

import (
	"context"
	"fmt"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/catalog"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/oci"
)

// keyDockerConfig is that of Secrets of type kubernetes.io/dockerconfigjson.
const keyDockerConfig = ".dockerconfigjson"

// Registry is what to show to a registry or a Helm repository, found as Credential
// finds that of a Git host. A Secret may hold a user name and a password, a bearer
// token, or a Docker configuration.
func (p Policy) Registry(ctx context.Context, a *v1alpha1.Application, url string, ref *v1alpha1.LocalReference, field string) (oci.Credential, error) {
	if ref == nil {
		return p.configuredRegistry(url, a.Namespace)
	}
	place := catalog.PlaceOf(a, field)
	data, err := p.Catalog.Secret(ctx, a.Namespace, ref.Name, place)
	if err != nil {
		return oci.Credential{}, fault.As(fault.SourceRefused, err)
	}
	text := map[string]string{}
	for key, value := range data {
		text[key] = string(value)
	}
	c, err := registryOf(text)
	if err != nil {
		return c, fault.Refuse(fault.SourceRefused, place, "Secret %s/%s: %w", a.Namespace, ref.Name, err)
	}
	return c, nil
}

func (p Policy) configuredRegistry(url, namespace string) (oci.Credential, error) {
	c, ok := p.Git.Credential(url, namespace)
	if !ok {
		return oci.Credential{}, nil
	}
	data := map[string]string{}
	for key, file := range map[string]string{keyUsername: c.UsernameFile, keyPassword: c.PasswordFile, keyBearerToken: c.BearerTokenFile} {
		if err := readInto(data, key, file); err != nil {
			return oci.Credential{}, fmt.Errorf("read the credential for %s of git.credentials: %w", c.Prefix, err)
		}
	}
	found, err := registryOf(data)
	if err != nil { // a file that is being written may be empty
		err = fault.Retry(fault.SourceRefused, "read the credential for %s of git.credentials: %w", c.Prefix, err)
	}
	return found, err
}

func registryOf(data map[string]string) (oci.Credential, error) {
	switch {
	case data[keyDockerConfig] != "":
		return oci.DockerConfig([]byte(data[keyDockerConfig]))
	case data[keyUsername] != "" && data[keyPassword] != "":
		return oci.Basic(data[keyUsername], data[keyPassword]), nil
	case data[keyBearerToken] != "":
		return oci.Bearer(data[keyBearerToken]), nil
	}
	return oci.Credential{}, fmt.Errorf("it holds no credential of a registry; give %s and %s, or %s, or %s", keyUsername, keyPassword, keyBearerToken, keyDockerConfig)
}
