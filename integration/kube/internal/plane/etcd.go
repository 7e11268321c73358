package plane

import (
	"context"
	"fmt"
	"net/url"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcd listens on sockets in the working directory: no port to pick, nobody else on the machine can read the
// cluster's secrets, and a relative name fits the 108 bytes of a socket address however deep the directory is.
const (
	etcdClient = "unix://etcd.sock"
	etcdPeer   = "unix://etcd-peer.sock"
)

func etcdConfig(dir, log string) (*embed.Config, error) {
	client, err := url.Parse(etcdClient)
	if err != nil {
		return nil, err
	}
	peer, err := url.Parse(etcdPeer)
	if err != nil {
		return nil, err
	}
	c := embed.NewConfig()
	c.Name, c.Dir = "plumb-kube", dir
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.LogOutputs, c.LogLevel = []string{log}, "info"
	// The data must survive a killed process, which the page cache does, not a power cut.
	c.UnsafeNoFsync = true
	// One member elects itself: a short timeout is a faster start, and nothing can go wrong by it.
	c.TickMs, c.ElectionMs = 50, 250
	c.EnableGRPCGateway = false
	return c, nil
}

// startEtcd returns once etcd answers.
func startEtcd(ctx context.Context, dir, log string) (*embed.Etcd, error) {
	c, err := etcdConfig(dir, log)
	if err != nil {
		return nil, err
	}
	server, err := embed.StartEtcd(c)
	if err != nil {
		return nil, err
	}
	select {
	case <-server.Server.ReadyNotify():
		return server, nil
	case err := <-server.Err():
		return nil, err
	case <-ctx.Done():
		return nil, fmt.Errorf("no leader: %w", ctx.Err())
	}
}
