/* kvm.h: the KVM back end (level full) on raw ioctls. A backend object owns /dev/kvm; a vm owns its
 * descriptors and vCPU mappings, and borrows the memory it shows to the guest. */
#ifndef AEE_ISOLATION_KVM_KVM_H
#define AEE_ISOLATION_KVM_KVM_H

#include "isolation/backend.h"

extern const struct aee__backend_ops aee__kvm_backend;

#endif
