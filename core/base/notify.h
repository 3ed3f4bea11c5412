/* SPDX-License-Identifier: Apache-2.0 */
/* notify.h - tells systemd how we are (sd_notify(3)), without its library. */
#ifndef CORE_BASE_NOTIFY_H
#define CORE_BASE_NOTIFY_H

/* Sends "READY=1" or the like to NOTIFY_SOCKET, if there is one. What fails is not said. */
void notify_systemd(const char *state);

#endif
