package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// informer runs client-go's own shared informer, with client-go's own settings, on one resource, and shows what it holds:
//
//	kube-lite informer --kubeconfig F [--context C] [--server URL] --resource [group/]version/plural [--namespace NS]
//
// It prints "synced" once its store is filled. For each line read it prints the store, one "namespace/name resourceVersion" a
// line in order, and then a line "end adds=… updates=… deletes=… lists=… watchlists=… watches=…": the events its handler saw, and
// how it asked the server for them. It ends with its input.
func informer(args []string) {
	f := flag.NewFlagSet("informer", flag.ExitOnError)
	kubeconfig := f.String("kubeconfig", "", "whose credentials to use")
	user := f.String("context", "", "the kubeconfig's context to use [default: its current one]")
	server := f.String("server", "", "base URL, instead of the context's")
	resource := f.String("resource", "", "[group/]version/plural")
	namespace := f.String("namespace", "", "all of them when empty")
	f.Parse(args)

	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	overrides := &clientcmd.ConfigOverrides{CurrentContext: *user, ClusterInfo: api.Cluster{Server: *server}}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: *kubeconfig}
	config := must(clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig())
	asked := &requests{}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { asked.next = next; return asked })
	parts := strings.Split(*resource, "/")
	if len(parts) == 2 {
		parts = append([]string{""}, parts...)
	}
	gvr := schema.GroupVersionResource{Group: parts[0], Version: parts[1], Resource: parts[2]}
	shared := dynamicinformer.NewFilteredDynamicInformer(must(dynamic.NewForConfig(config)), gvr, *namespace, 0, cache.Indexers{}, nil).Informer()

	var adds, updates, deletes atomic.Int64
	registration := must(shared.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { adds.Add(1) },
		UpdateFunc: func(before, after any) {
			// A re-list or a resumed watch may show what is known already; only what changed counts.
			if version(before) != version(after) {
				updates.Add(1)
			}
		},
		DeleteFunc: func(any) { deletes.Add(1) },
	}))
	go shared.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return
	}
	fmt.Println("synced")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var held []string
		for _, object := range shared.GetStore().List() {
			o := must(meta.Accessor(object))
			held = append(held, fmt.Sprintf("%s/%s %s", o.GetNamespace(), o.GetName(), o.GetResourceVersion()))
		}
		slices.Sort(held)
		for _, line := range held {
			fmt.Println(line)
		}
		fmt.Printf("end adds=%d updates=%d deletes=%d lists=%d watchlists=%d watches=%d\n", adds.Load(), updates.Load(), deletes.Load(),
			asked.lists.Load(), asked.watchLists.Load(), asked.watches.Load())
	}
}

func version(object any) string {
	o := must(meta.Accessor(object.(runtime.Object)))
	return o.GetResourceVersion()
}

// requests counts what was asked of the server and answered with 200.
type requests struct {
	next                       http.RoundTripper
	lists, watchLists, watches atomic.Int64
}

func (r *requests) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.next.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusOK {
		switch query := request.URL.Query(); {
		case query.Get("sendInitialEvents") == "true":
			r.watchLists.Add(1)
		case query.Get("watch") == "true":
			r.watches.Add(1)
		default:
			r.lists.Add(1)
		}
	}
	return response, err
}
