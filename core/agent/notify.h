/* SPDX-License-Identifier: Apache-2.0 */
/* notify.h - tells the service manager how we are. */
#ifndef CORE_AGENT_NOTIFY_H
#define CORE_AGENT_NOTIFY_H

/* Sends "READY=1" or the like to NOTIFY_SOCKET, if there is one. */
void notify(const char *state);

#endif
