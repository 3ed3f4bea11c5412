# SPDX-License-Identifier: Apache-2.0
# SLUICE_SANITIZER: --enable-sanitizer=address,undefined or =thread
AC_DEFUN([SLUICE_SANITIZER], [
  AC_ARG_ENABLE([sanitizer],
    [AS_HELP_STRING([--enable-sanitizer=LIST], [build with compiler sanitizers: address,undefined or thread])],
    [], [enable_sanitizer=no])
  SANITIZER_CFLAGS=
  AS_IF([test "x$enable_sanitizer" = xyes], [enable_sanitizer=address,undefined])
  AS_IF([test "x$enable_sanitizer" != xno],
    [SANITIZER_CFLAGS="-fsanitize=$enable_sanitizer -fno-sanitize-recover=all -fno-omit-frame-pointer"
     AX_SLUICE_TRY_CFLAGS([$SANITIZER_CFLAGS], [],
       [AC_MSG_ERROR([the compiler does not take $SANITIZER_CFLAGS])])])
  AC_SUBST([SANITIZER_CFLAGS])
  AM_CONDITIONAL([SANITIZED], [test "x$enable_sanitizer" != xno])
])
AC_DEFUN([AX_SLUICE_TRY_CFLAGS], [
  sluice_saved_cflags=$CFLAGS
  CFLAGS="$CFLAGS $1"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [$2], [$3])
  CFLAGS=$sluice_saved_cflags
])
