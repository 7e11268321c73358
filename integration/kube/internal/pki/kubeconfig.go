package pki

import (
	"fmt"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Kubeconfig lets one of Users reach server. It carries the certificates themselves, so that it works from
// anywhere, also after being copied.
func (d Dir) Kubeconfig(server, user string) ([]byte, error) {
	ca, err := os.ReadFile(d.Cert("ca"))
	if err != nil {
		return nil, fmt.Errorf("write kubeconfig: %w", err)
	}
	cert, err := os.ReadFile(d.Cert(user))
	if err != nil {
		return nil, fmt.Errorf("write kubeconfig: %w", err)
	}
	key, err := os.ReadFile(d.Key(user))
	if err != nil {
		return nil, fmt.Errorf("write kubeconfig: %w", err)
	}
	const name = "plumb-kube"
	return clientcmd.Write(api.Config{
		Clusters:       map[string]*api.Cluster{name: {Server: server, CertificateAuthorityData: ca}},
		AuthInfos:      map[string]*api.AuthInfo{user: {ClientCertificateData: cert, ClientKeyData: key}},
		Contexts:       map[string]*api.Context{name: {Cluster: name, AuthInfo: user}},
		CurrentContext: name,
	})
}
